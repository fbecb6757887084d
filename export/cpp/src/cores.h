// How many processors this process may use.

#pragma once

#include <string>

namespace htr {

// The processors of the process's affinity mask, and no more than its cgroups' quota allows; at least 1.
int AvailableCores();

// The quota of a cgroup in processors, rounded up, or 0 for none, from the text of cpu.max: "QUOTA PERIOD", both in
// microseconds, where "max" is no quota.
int QuotaOf(const std::string& cpu_max);

}  // namespace htr

// How many processors this process may use.

#pragma once

#include <filesystem>

namespace htr {

// The processors of the process's affinity mask, or fewer where a control group grants less time; at least 1.
int AvailableCores();

// Processors' worth of time that control groups (v1 and v2) grant this process, rounded up; 0 without a limit.
//   mounted     where control groups are mounted: /sys/fs/cgroup
//   membership  the groups of the process: /proc/self/cgroup
int CpuQuota(const std::filesystem::path& mounted, const std::filesystem::path& membership);

}  // namespace htr

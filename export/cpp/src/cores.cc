// std::thread::hardware_concurrency knows nothing of quotas, so a container with two of 64 processors would get 64
// threads. cgroup v2 has one hierarchy, and a quota of any level of it binds; v1 is read where it is usually mounted.

#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace htr {
namespace {

std::string FirstLine(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// The smallest quota of the process's cgroup and of those above it, or 0 for none.
int Quota() {
    const std::filesystem::path root = "/sys/fs/cgroup";
    std::filesystem::path group;  // of cgroup v2: the line "0::/path" of /proc/self/cgroup
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        if (line.rfind("0::/", 0) == 0) {
            group = line.substr(4);
        }
    }
    int least = QuotaOf(FirstLine(root / "cpu/cpu.cfs_quota_us") + " " + FirstLine(root / "cpu/cpu.cfs_period_us"));
    for (bool above = true; above; group = group.parent_path()) {
        const int quota = QuotaOf(FirstLine(root / group / "cpu.max"));
        least = quota == 0 ? least : least == 0 ? quota : std::min(least, quota);
        above = !group.empty();
    }
    return least;
}

}  // namespace

int QuotaOf(const std::string& cpu_max) {
    std::istringstream text(cpu_max);
    double quota = 0, period = 0;
    if (!(text >> quota >> period) || quota <= 0 || period <= 0) {
        return 0;
    }
    return int(std::min(std::max(1.0, (quota + period - 1) / period), 65536.0));
}

int AvailableCores() {
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed)
                                                                    : int(std::thread::hardware_concurrency());
    const int quota = Quota();
    if (quota > 0) {
        count = std::min(count, quota);
    }
    return std::max(1, count);
}

}  // namespace htr

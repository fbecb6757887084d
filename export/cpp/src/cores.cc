// std::thread::hardware_concurrency knows nothing of quotas: with it, a container that is granted two of 64 processors
// would get 64 threads. The same rules as in htrcompress/utils/machine.py.

#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace htr {
namespace {

namespace fs = std::filesystem;

// The number in a file; 0 where there is none.
double ReadNumber(std::istream&& text) {
    double number = 0;
    return text >> number ? number : 0;
}

// Processors' worth of time that one group grants, or 0 for no limit.
double QuotaOf(const fs::path& group) {
    double quota = 0, period = 0;
    if (std::ifstream both(group / "cpu.max"); both) {
        both >> quota >> period;  // a failed read, as of `max`, leaves 0
    } else {
        quota = ReadNumber(std::ifstream(group / "cpu.cfs_quota_us"));
        period = ReadNumber(std::ifstream(group / "cpu.cfs_period_us"));
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

bool HasCpu(const std::string& controllers) {
    return controllers.empty() || ("," + controllers + ",").find(",cpu,") != std::string::npos;
}

// The folder of a group: `path` is absolute in its hierarchy, which may begin above what a container sees.
fs::path FolderOf(const fs::path& top, const fs::path& path) {
    fs::path folder = top;
    for (const fs::path& part : path.relative_path()) {
        folder /= part == ".." ? fs::path() : part;
    }
    return folder;
}

}  // namespace

int CpuQuota(const fs::path& mounted, const fs::path& membership) {
    double least = 0;
    std::ifstream groups(membership);
    for (std::string line; std::getline(groups, line);) {  // NUMBER:CONTROLLERS:PATH
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == line.npos || second == line.npos) {
            continue;
        }
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (!HasCpu(controllers)) {
            continue;
        }
        // v2 has no controllers here; it is mounted at the top, or beside v1 as `unified`.
        const std::vector<fs::path> tops = controllers.empty()
                                               ? std::vector<fs::path>{mounted, mounted / "unified"}
                                               : std::vector<fs::path>{mounted / controllers, mounted / "cpu"};
        for (const fs::path& top : tops) {
            fs::path group = FolderOf(top, line.substr(second + 1));
            for (bool above = true; above; group = group.parent_path()) {  // the smallest limit of all levels counts
                above = group != top && group.has_parent_path() && group != group.root_path();
                const double quota = QuotaOf(group);
                least = quota == 0 ? least : least == 0 ? quota : std::min(least, quota);
            }
        }
    }
    return int(std::ceil(std::min(least, 65536.0)));
}

int AvailableCores() {
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed)
                                                                    : int(std::thread::hardware_concurrency());
    const int quota = CpuQuota("/sys/fs/cgroup", "/proc/self/cgroup");
    if (quota > 0) {
        count = std::min(count, quota);
    }
    return std::max(1, count);
}

}  // namespace htr

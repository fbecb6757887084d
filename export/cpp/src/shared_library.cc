// dlopen and dlsym with a sentence for each failure.

#include "shared_library.h"

#include <dlfcn.h>

#include "htr/htr.h"

namespace htr {

void* LoadFunction(const std::vector<std::string>& libraries, const char* function, const std::string& runtime) {
    std::string reason;
    for (const std::string& library : libraries) {
        void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr) {
            reason = dlerror();
            continue;
        }
        if (void* found = dlsym(handle, function)) {
            return found;
        }
        throw Error(library + " is not " + runtime + ": it has no function " + function);
    }
    throw Error(runtime + " cannot be loaded (" + reason + "): install it, or name its library as the runtime");
}

}  // namespace htr

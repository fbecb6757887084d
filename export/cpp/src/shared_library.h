// Loading a runtime's shared library when it is needed, so that programs start, and build, without it.

#pragma once

#include <string>
#include <vector>

namespace htr {

// The function `function` of the first of the libraries that can be loaded; it stays loaded until the program ends.
// `runtime` is what to call the library in an error.
void* LoadFunction(const std::vector<std::string>& libraries, const char* function, const std::string& runtime);

}  // namespace htr

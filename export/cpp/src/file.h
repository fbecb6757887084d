// Reading whole files.

#pragma once

#include <filesystem>
#include <string>

namespace htr {

// A whole file of at most `max_bytes`; `advice` is what to do where it cannot be read.
std::string ReadFile(const std::filesystem::path& path, std::uintmax_t max_bytes, const std::string& advice);

}  // namespace htr

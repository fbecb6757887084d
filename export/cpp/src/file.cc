// The size is checked before the bytes are read.

#include "file.h"

#include <fstream>
#include <iterator>
#include <system_error>

#include "htr/htr.h"

namespace htr {

std::string ReadFile(const std::filesystem::path& path, std::uintmax_t max_bytes, const std::string& advice) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    std::ifstream file;
    if (!error) {  // it has no size where it is a pipe, which would be waited for
        file.open(path, std::ios::binary);
    }
    if (!file.is_open()) {
        throw Error(path.string() + " is missing or cannot be read: " + advice);
    }
    if (bytes > max_bytes) {
        throw Error(path.string() + " is larger than " + std::to_string(max_bytes) + " bytes: " + advice);
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace htr

// SHA-256 (FIPS 180-4).

#pragma once

#include <string>

namespace htr {

// The hash of some bytes, as 64 lower-case hexadecimal digits.
std::string Sha256(const std::string& bytes);

}  // namespace htr

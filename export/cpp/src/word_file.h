// Lists of words in text files.

#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace htr {

// The words of a list in normal form C with their numbers, 1 where none is given.
std::map<std::u32string, double> ReadWords(const std::filesystem::path& path);

}  // namespace htr

// Refused besides broken sequences: encodings longer than needed, halves of surrogate pairs, what is beyond U+10FFFF.

#include "utf8.h"

#include <cstdint>

namespace htr {
namespace {

// The bytes of a character by its first one; 0 where none begins so.
std::size_t LengthOf(unsigned char first) {
    return first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

bool IsCharacter(std::uint32_t code, std::size_t length) {
    constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    return code >= kLeast[length] && code <= 0x10FFFF && !control && !surrogate;
}

}  // namespace

std::optional<std::vector<std::string>> SplitPrintable(const std::string& text) {
    std::vector<std::string> characters;
    for (std::size_t start = 0; start < text.size();) {
        const auto first = static_cast<unsigned char>(text[start]);
        const std::size_t length = LengthOf(first);
        if (length == 0 || length > text.size() - start) {
            return std::nullopt;
        }
        std::uint32_t code = length == 1 ? first : first & (0x7F >> length);
        for (std::size_t i = 1; i < length; ++i) {
            const auto next = static_cast<unsigned char>(text[start + i]);
            if ((next & 0xC0) != 0x80) {
                return std::nullopt;
            }
            code = code << 6 | (next & 0x3F);
        }
        if (!IsCharacter(code, length)) {
            return std::nullopt;
        }
        characters.push_back(text.substr(start, length));
        start += length;
    }
    return characters;
}

}  // namespace htr

// Refused besides broken sequences: encodings longer than needed, halves of surrogate pairs, what is beyond U+10FFFF.

#include "utf8.h"

namespace htr {
namespace {

// The bytes of a character by its first one; 0 where none begins so.
std::size_t LengthOf(unsigned char first) {
    return first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

bool IsCharacter(char32_t code, std::size_t length) {
    constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    return code >= kLeast[length] && code <= 0x10FFFF && !surrogate;
}

bool IsControl(char32_t code) { return code < 0x20 || (code >= 0x7F && code < 0xA0); }

}  // namespace

std::optional<std::u32string> FromUtf8(std::string_view text) {
    std::u32string codes;
    for (std::size_t start = 0; start < text.size();) {
        const auto first = static_cast<unsigned char>(text[start]);
        const std::size_t length = LengthOf(first);
        if (length == 0 || length > text.size() - start) {
            return std::nullopt;
        }
        char32_t code = length == 1 ? first : first & (0x7F >> length);
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
        codes.push_back(code);
        start += length;
    }
    return codes;
}

std::string ToUtf8(std::u32string_view text) {
    std::string bytes;
    for (const char32_t code : text) {
        if (code < 0x80) {
            bytes += char(code);
            continue;
        }
        const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        constexpr unsigned kLead[] = {0, 0xC0, 0xE0, 0xF0};
        bytes += char(kLead[more] | code >> (6 * more));
        for (int rest = more - 1; rest >= 0; --rest) {
            bytes += char(0x80 | (code >> (6 * rest) & 0x3F));
        }
    }
    return bytes;
}

std::optional<std::vector<std::string>> SplitPrintable(const std::string& text) {
    const std::optional<std::u32string> codes = FromUtf8(text);
    if (!codes) {
        return std::nullopt;
    }
    std::vector<std::string> characters;
    for (const char32_t code : *codes) {
        if (IsControl(code)) {
            return std::nullopt;
        }
        characters.push_back(ToUtf8({&code, 1}));
    }
    return characters;
}

}  // namespace htr

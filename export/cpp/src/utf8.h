// UTF-8 (RFC 3629) to code points and back.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace htr {

// The code points of a text; nothing if it is not UTF-8.
std::optional<std::u32string> FromUtf8(std::string_view text);

std::string ToUtf8(std::u32string_view text);

// The code points of a text, each as UTF-8; nothing if the text is not UTF-8 or holds a control character.
std::optional<std::vector<std::string>> SplitPrintable(const std::string& text);

}  // namespace htr

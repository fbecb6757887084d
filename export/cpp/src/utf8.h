// UTF-8 (RFC 3629) into characters.

#pragma once

#include <optional>
#include <string>
#include <vector>

namespace htr {

// The code points of a text, each as UTF-8; nothing if the text is not UTF-8 or holds a control character.
std::optional<std::vector<std::string>> SplitPrintable(const std::string& text);

}  // namespace htr

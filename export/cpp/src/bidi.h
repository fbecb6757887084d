// The direction of writing: texts in the order of the page for the network, in the order of reading for people, as
// htrcompress/bidi.py.

#pragma once

#include <string>
#include <string_view>

namespace htr {

// Whether any character is of a script that is written from right to left.
bool HasRightToLeft(std::u32string_view text);

// A text as it stands on a line, from left to right; and from there again as it is read, since turning the runs once
// more puts them back. `right_to_left` is the direction of the line as a whole.
std::u32string Reordered(std::u32string_view text, bool right_to_left);

}  // namespace htr

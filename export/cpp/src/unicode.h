// Properties of characters, as Python's unicodedata has them.

#pragma once

#include <string>
#include <string_view>

#include "unicode_tables.h"

namespace htr {

// Whether a character is part of a word: a letter, a mark or a digit.
bool IsLetter(char32_t code);

// White space, as Python's str.split takes it.
bool IsSpace(char32_t code);

BidiClass BidiClassOf(char32_t code);

// What stands for a character where it is written from right to left: `(` for `)`.
char32_t MirrorImage(char32_t code);

// Normal form C: letters with marks as single characters, wherever there are such.
std::u32string Composed(std::u32string_view text);

}  // namespace htr

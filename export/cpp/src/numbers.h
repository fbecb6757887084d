// Numbers in text, whatever the program's locale.

#pragma once

#include <string>
#include <vector>

namespace htr {

// The finite numbers of a text with white space between them; none if it holds anything else.
std::vector<double> ParseNumbers(const std::string& text);

// The shortest text that is read as this number again.
std::string FormatNumber(double value);

// A number to some decimals, as Python's round gives it.
double Rounded(double value, int decimals);

}  // namespace htr

#include "numbers.h"

#include <cmath>
#include <limits>
#include <locale>
#include <sstream>

namespace htr {

std::vector<double> ParseNumbers(const std::string& text) {
    if (text.find_first_not_of("0123456789+-.eE \t") != std::string::npos) {
        return {};
    }
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    std::vector<double> numbers;
    for (double value = 0; stream >> value;) {
        if (!std::isfinite(value)) {
            return {};
        }
        numbers.push_back(value);
    }
    return stream.eof() ? numbers : std::vector<double>{};
}

std::string FormatNumber(double value) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    for (int digits = 1; digits <= std::numeric_limits<double>::max_digits10; ++digits) {
        text.str("");
        text.precision(digits);
        text << value;
        const std::vector<double> again = ParseNumbers(text.str());
        if (again.size() == 1 && again[0] == value) {
            break;
        }
    }
    return text.str();
}

double Rounded(double value, int decimals) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.precision(decimals);
    text << std::fixed << value;  // exact, where a product with ten would round before
    return ParseNumbers(text.str()).at(0);
}

}  // namespace htr

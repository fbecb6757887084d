#include "word_file.h"

#include <algorithm>
#include <vector>

#include "file.h"
#include "htr/htr.h"
#include "numbers.h"
#include "unicode.h"
#include "utf8.h"

namespace htr {
namespace {

constexpr std::size_t kMostWords = 200'000, kLongest = 200;  // words, and characters of one
constexpr double kLargestNumber = 1e12;
constexpr std::uintmax_t kMaxBytes = std::uintmax_t(1) << 28;

// Runs of white space made one space, and none at the ends.
std::u32string Cleaned(std::u32string_view text) {
    std::u32string cleaned;
    for (const char32_t code : Composed(text)) {
        if (!IsSpace(code)) {
            cleaned += code;
        } else if (!cleaned.empty() && cleaned.back() != U' ') {
            cleaned += U' ';
        }
    }
    if (!cleaned.empty() && cleaned.back() == U' ') {
        cleaned.pop_back();
    }
    return cleaned;
}

// The rows of a text file, whatever ends them.
std::vector<std::string> Rows(const std::filesystem::path& path) {
    std::string bytes = ReadFile(path, kMaxBytes, "name a list of words");
    if (bytes.rfind("\xEF\xBB\xBF", 0) == 0) {
        bytes.erase(0, 3);
    }
    std::vector<std::string> rows(1);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] == '\n' || bytes[i] == '\r') {
            i += bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] == '\n';
            rows.emplace_back();
        } else {
            rows.back() += bytes[i];
        }
    }
    return rows;
}

double NumberOf(const std::string& text, const std::string& where) {
    const std::vector<double> numbers = ParseNumbers(text);
    if (numbers.size() != 1 || !(numbers[0] > 0 && numbers[0] <= kLargestNumber)) {
        throw Error(where + ": what follows the tab is not a positive number up to 1e12: write word<TAB>number");
    }
    return numbers[0];
}

}  // namespace

std::map<std::u32string, double> ReadWords(const std::filesystem::path& path) {
    std::map<std::u32string, double> words;
    int row = 0;
    for (const std::string& text : Rows(path)) {
        const std::string where = path.string() + ", line " + std::to_string(++row);
        const std::size_t tab = std::min(text.find('\t'), text.size());
        const std::optional<std::u32string> codes = FromUtf8(std::string_view(text).substr(0, tab));
        if (!codes) {
            throw Error(where + " is not UTF-8 text: convert the file");
        }
        const std::u32string word = Cleaned(*codes);
        if (word.empty()) {
            continue;
        }
        const double number = tab < text.size() ? NumberOf(text.substr(tab + 1), where) : 1.0;
        if (word.size() > kLongest) {
            throw Error(where + " has more than " + std::to_string(kLongest) + " characters, too many for a word: " +
                        "split it");
        }
        words[word] = std::max(number, words[word]);
    }
    if (words.empty()) {
        throw Error(path.string() + " holds no words: write one in each row");
    }
    if (words.size() > kMostWords) {
        throw Error(path.string() + " holds more than " + std::to_string(kMostWords) +
                    " words: keep the likely ones, or train a language model");
    }
    return words;
}

}  // namespace htr

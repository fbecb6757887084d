// Metadata is written by htrcompress/card.py and htrcompress/runtime/engine_file.py.

#include "metadata.h"

#include <set>

#include "utf8.h"

namespace htr {
namespace {

constexpr int kMaxSize = 1 << 20;  // no size on a card may exceed this, nor the number of characters
constexpr char kFormat[] = "1";
constexpr char kAdvice[] = "; export the model again";

int ParseSize(const std::string& text, const std::string& key, const std::string& where) {
    int value = 0;
    bool good = !text.empty() && text.size() <= 7 && text[0] != '0';
    for (const char digit : text) {
        good = good && digit >= '0' && digit <= '9';
        value = good ? 10 * value + (digit - '0') : 0;
    }
    if (!good || value > kMaxSize) {
        throw Error(where + " is damaged: " + key + " is no size" + kAdvice);
    }
    return value;
}

std::vector<std::string> ParseCharset(const std::string& text, const std::string& where) {
    const std::optional<std::vector<std::string>> characters = SplitPrintable(text);
    if (!characters || characters->empty() || characters->size() > kMaxSize ||
        std::set<std::string>(characters->begin(), characters->end()).size() != characters->size()) {
        throw Error(where + " is damaged: its charset is not a list of distinct characters" + kAdvice);
    }
    return *characters;
}

}  // namespace

Metadata ParseMetadata(const std::string& text, const std::string& where) {
    Metadata entries;
    int number = 0;
    for (std::size_t start = 0; start < text.size();) {
        const std::size_t end = std::min(text.find('\n', start), text.size());
        const std::string line = text.substr(start, end - start);
        const std::size_t equals = line.find('=');
        ++number;
        start = end + 1;
        if (equals == 0 || equals == line.npos || !SplitPrintable(line) ||
            !entries.emplace(line.substr(0, equals), line.substr(equals + 1)).second) {
            throw Error(where + " is damaged: line " + std::to_string(number) + " is not a new key=value" + kAdvice);
        }
    }
    return entries;
}

Card ReadCard(const std::function<std::optional<std::string>(const std::string& key)>& find, const std::string& where) {
    const auto entry = [&](const char* name) {
        const std::string key = std::string("htrcompress.") + name;
        const std::optional<std::string> value = find(key);
        if (!value) {
            throw Error(where + " has no " + key + ": export the model with htrcompress");
        }
        return *value;
    };
    const auto size = [&](const char* name) { return ParseSize(entry(name), name, where); };
    if (entry("format") != kFormat) {
        throw Error(where + " has a card of another format; this library reads format " + kFormat);
    }
    Card card;
    card.height = size("height");
    card.stride = size("stride");
    card.max_width = size("max_width");
    card.charset = ParseCharset(entry("charset"), where);
    card.digest = entry("digest");
    card.direction = find("htrcompress.direction").value_or("ltr");
    card.calibration = find("htrcompress.calibration").value_or("");
    if (card.direction != "ltr" && card.direction != "rtl") {
        throw Error(where + " is damaged: its direction is not ltr or rtl" + kAdvice);
    }
    if (card.digest.size() != 64 || card.digest.find_first_not_of("0123456789abcdef") != card.digest.npos) {
        throw Error(where + " is damaged: its digest is no SHA-256" + kAdvice);
    }
    return card;
}

}  // namespace htr

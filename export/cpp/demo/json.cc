#include "json.h"

#include <cmath>
#include <locale>
#include <sstream>

namespace {

constexpr char kDigits[] = "0123456789abcdef";

// JSON has no infinity.
std::string Number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.precision(9);  // enough for a float, and for pixels and confidences as they are rounded
    text << value;
    return text.str();
}

std::string Spans(const std::vector<htr::Span>& spans) {
    std::string text = "[";
    for (const htr::Span& span : spans) {
        text += (text.size() > 1 ? ", " : "") + std::string("{\"text\": ") + Quoted(span.text) +
                ", \"start\": " + Number(span.start) + ", \"end\": " + Number(span.end) +
                ", \"confidence\": " + Number(span.confidence) + "}";
    }
    return text + "]";
}

std::string Entry(const std::string& path, const htr::Reading& reading, const std::string& score,
                  const std::string& error) {
    std::string alternatives;
    for (const htr::Reading& other : reading.alternatives) {
        alternatives += (alternatives.empty() ? "" : ", ") + std::string("{\"text\": ") + Quoted(other.text) +
                        ", \"score\": " + Number(other.score) + "}";
    }
    return "{\"path\": " + Quoted(path) + ", \"text\": " + Quoted(reading.text) + ", \"score\": " + score +
           ", \"error\": " + Quoted(error) + ", \"alternatives\": [" + alternatives +
           "], \"confidence\": " + (reading.confidence ? Number(*reading.confidence) : "null") +
           ", \"characters\": " + Spans(reading.characters) + ", \"words\": " + Spans(reading.words) + "}";
}

}  // namespace

std::string Quoted(const std::string& text) {
    std::string quoted = "\"";
    for (const char byte : text) {
        const auto value = static_cast<unsigned char>(byte);
        if (byte == '"' || byte == '\\') {
            quoted += '\\';
            quoted += byte;
        } else if (value < 0x20) {
            quoted += std::string("\\u00") + kDigits[value >> 4] + kDigits[value & 15];
        } else {
            quoted += byte;
        }
    }
    return quoted + "\"";
}

std::string ToJson(const std::string& path, const htr::Reading& reading) {
    return Entry(path, reading, Number(reading.score), "");
}

std::string ToJson(const std::string& path, const std::string& error) { return Entry(path, {}, "null", error); }

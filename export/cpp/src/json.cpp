// The JSON reader of json.h: recursive descent over the text, one function for each kind of value.

#include "json.h"

#include <charconv>
#include <cstdint>
#include <limits>

#include "htr/htr.h"

namespace htr::json {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxBytes = 16 << 20;

// Whether a text is UTF-8 in its shortest form, without surrogates.
bool is_utf8(std::string_view text) {
    std::uint32_t code = 0, least = 0;
    int missing = 0;  // bytes of the present character that are still to come
    for (const unsigned char byte : text) {
        if (missing > 0) {
            code = code << 6 | (byte & 0x3Fu);
            if (byte >> 6 != 2 || (--missing == 0 && (code < least || code > 0x10FFFF || code >> 11 == 0x1B))) {
                return false;
            }
        } else if (byte >= 0x80) {
            missing = byte >> 5 == 6 ? 1 : byte >> 4 == 14 ? 2 : byte >> 3 == 30 ? 3 : 0;
            if (missing == 0) {
                return false;
            }
            code = byte & (0x3Fu >> missing);
            least = missing == 1 ? 0x80 : missing == 2 ? 0x800 : 0x10000;
        }
    }
    return missing == 0;
}

class Parser {
   public:
    Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {
        if (text.size() > kMaxBytes) {
            throw Error(name + " is larger than " + std::to_string(kMaxBytes) + " bytes: it is no card of a model");
        }
        if (!is_utf8(text)) {
            throw Error(name + " is damaged: it is not UTF-8 text");
        }
    }

    Value document() {
        Value value = this->value(0);
        skip_space();
        if (at_ != text_.size()) {
            throw wrong("text after its end");
        }
        return value;
    }

   private:
    Value value(int depth) {
        if (depth > kMaxDepth) {
            throw wrong("too many brackets inside each other");
        }
        skip_space();
        Value result;
        if (take('{')) {
            result.kind = Value::Kind::object;
            each_until('}', [&] {
                skip_space();
                expect('"');
                std::string name = string();
                skip_space();
                expect(':');
                result.members.emplace_back(std::move(name), value(depth + 1));
            });
        } else if (take('[')) {
            result.kind = Value::Kind::list;
            each_until(']', [&] { result.items.push_back(value(depth + 1)); });
        } else if (take('"')) {
            result.kind = Value::Kind::text;
            result.text = string();
        } else {
            return word();
        }
        return result;
    }

    // Calls `member` for each of the members that commas separate, up to the closing bracket.
    template <class Member>
    void each_until(char closing, const Member& member) {
        skip_space();
        if (take(closing)) {
            return;
        }
        do {
            member();
            skip_space();
        } while (take(','));
        expect(closing);
    }

    // A value without quotes or brackets.
    Value word() {
        static const std::pair<std::string_view, Value> words[] = {
            {"null", {}},
            {"true", {Value::Kind::boolean, 1, {}, {}, {}}},
            {"false", {Value::Kind::boolean, 0, {}, {}, {}}},
            {"NaN", {Value::Kind::number, std::numeric_limits<double>::quiet_NaN(), {}, {}, {}}},
            {"Infinity", {Value::Kind::number, std::numeric_limits<double>::infinity(), {}, {}, {}}},
            {"-Infinity", {Value::Kind::number, -std::numeric_limits<double>::infinity(), {}, {}, {}}},
        };
        for (const auto& [spelling, value] : words) {
            if (text_.substr(at_, spelling.size()) == spelling) {
                at_ += spelling.size();
                return value;
            }
        }
        Value result;
        result.kind = Value::Kind::number;
        const char* begin = text_.data() + at_;
        const auto [end, status] = std::from_chars(begin, text_.data() + text_.size(), result.number);
        const bool starts_well = at_ < text_.size() && (*begin == '-' || (*begin >= '0' && *begin <= '9'));
        if (!starts_well || status != std::errc()) {
            throw wrong("no value");
        }
        at_ += std::size_t(end - begin);
        return result;
    }

    // The rest of a string whose opening quote has been read.
    std::string string() {
        std::string result;
        for (;;) {
            const char c = next();
            if (c == '"') {
                return result;
            }
            if (static_cast<unsigned char>(c) < ' ') {
                throw wrong("a control character in a string");
            }
            if (c == '\\') {
                escape(result);
            } else {
                result += c;
            }
        }
    }

    void escape(std::string& result) {
        const char c = next();
        constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        if (const std::size_t place = letters.find(c); place != letters.npos) {
            result += meanings[place];
            return;
        }
        if (c != 'u') {
            throw wrong("an unknown escape");
        }
        std::uint32_t code = four_digits();
        if (code >= 0xD800 && code < 0xDC00) {  // the first of a pair
            expect('\\');
            expect('u');
            const std::uint32_t second = four_digits();
            if (second < 0xDC00 || second > 0xDFFF) {
                throw wrong("half a character");
            }
            code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
        } else if (code >= 0xDC00 && code < 0xE000) {
            throw wrong("half a character");
        }
        append_utf8(result, code);
    }

    std::uint32_t four_digits() {
        std::uint32_t code = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
        if (status != std::errc() || end != digits.data() + 4) {
            throw wrong("an unknown escape");
        }
        at_ += 4;
        return code;
    }

    static void append_utf8(std::string& result, std::uint32_t code) {
        if (code < 0x80) {
            result += char(code);
        } else if (code < 0x800) {
            result += char(0xC0 | code >> 6);
            result += char(0x80 | (code & 0x3F));
        } else if (code < 0x10000) {
            result += char(0xE0 | code >> 12);
            result += char(0x80 | (code >> 6 & 0x3F));
            result += char(0x80 | (code & 0x3F));
        } else {
            result += char(0xF0 | code >> 18);
            result += char(0x80 | (code >> 12 & 0x3F));
            result += char(0x80 | (code >> 6 & 0x3F));
            result += char(0x80 | (code & 0x3F));
        }
    }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
            ++at_;
        }
    }

    bool take(char c) {
        const bool there = at_ < text_.size() && text_[at_] == c;
        at_ += there;
        return there;
    }

    void expect(char c) {
        if (!take(c)) {
            throw wrong(std::string("no '") + c + "' where one is due");
        }
    }

    char next() {
        if (at_ == text_.size()) {
            throw wrong("its end is missing");
        }
        return text_[at_++];
    }

    Error wrong(const std::string& what) const {
        return Error(name_ + " is damaged, it is no JSON: " + what + " at byte " + std::to_string(at_));
    }

    std::string_view text_;
    const std::string& name_;
    std::size_t at_ = 0;
};

}  // namespace

const Value* Value::find(std::string_view name) const {
    for (const auto& [key, value] : members) {
        if (key == name) {
            return &value;
        }
    }
    return nullptr;
}

Value parse(std::string_view text, const std::string& name) { return Parser(text, name).document(); }

}  // namespace htr::json

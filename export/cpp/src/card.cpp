// The entries of a card that reading needs, each checked: what the library trusts later, it checks here.

#include "card.h"

namespace htr {
namespace {

constexpr int kFormat = 1;
constexpr int kLargest = 1 << 20;  // no size on a card may exceed this, nor the charset
constexpr char kKey[] = "htrcompress";

const json::Value& entry(const json::Value& card, const char* name, json::Value::Kind kind, const std::string& where) {
    const json::Value* value = card.find(name);
    if (value == nullptr || value->kind != kind) {
        throw Error("the card of " + where + " is damaged: its entry '" + name + "' is missing or of another kind");
    }
    return *value;
}

int size_entry(const json::Value& card, const char* name, const std::string& where) {
    const double value = entry(card, name, json::Value::Kind::number, where).number;
    if (!(value >= 1 && value <= kLargest && value == int(value))) {
        throw Error("the card of " + where + " is damaged: its " + name + " cannot be right");
    }
    return int(value);
}

}  // namespace

Card read_card(const json::Value& card, const std::string& where) {
    const json::Value* format = card.find(kKey);
    if (format == nullptr || format->kind != json::Value::Kind::number) {
        throw Error(where + " carries no htrcompress card: export the model with htrcompress");
    }
    if (format->number != kFormat) {
        throw Error(where + " has a card of another version; this library reads version " + std::to_string(kFormat));
    }
    Card result;
    result.name = entry(card, "name", json::Value::Kind::text, where).text;
    result.height = size_entry(card, "height", where);
    result.stride = size_entry(card, "stride", where);
    result.max_width = size_entry(card, "max_width", where);
    for (const json::Value& character : entry(card, "charset", json::Value::Kind::list, where).items) {
        if (character.kind != json::Value::Kind::text || character.text.empty() || result.charset.size() == kLargest) {
            throw Error("the card of " + where + " is damaged: its charset is not a list of characters");
        }
        result.charset.push_back(character.text);
    }
    if (result.charset.empty()) {
        throw Error("the card of " + where + " is damaged: its charset is empty");
    }
    return result;
}

}  // namespace htr

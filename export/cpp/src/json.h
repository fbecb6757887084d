// A small JSON reader (RFC 8259), for the cards of models. Depth and size are limited; errors are htr::Error.
//
// As Python's json writes them, NaN, Infinity and -Infinity are taken for numbers.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace htr::json {

struct Value {
    enum class Kind { null, boolean, number, text, list, object };

    Kind kind = Kind::null;
    double number = 0;                                    // of a number; 1 or 0 of a boolean
    std::string text;                                     // UTF-8
    std::vector<Value> items;                             // of a list
    std::vector<std::pair<std::string, Value>> members;  // of an object, in the file's order

    // The member called `name`, or null where there is none or this is no object.
    const Value* find(std::string_view name) const;
};

// Reads one document. `name` says in an error where the text came from.
Value parse(std::string_view text, const std::string& name);

}  // namespace htr::json

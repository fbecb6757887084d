#include "charset.h"

#include "bidi.h"
#include "unicode.h"
#include "utf8.h"

namespace htr {

Charset::Charset(const Card& card) : right_to_left_(card.direction == "rtl") {
    for (const std::string& character : card.charset) {
        characters_ += FromUtf8(character).value();  // the card was checked when it was read
    }
    reorders_ = right_to_left_ || HasRightToLeft(characters_);
}

std::string Charset::Decode(const std::int32_t* labels, std::size_t count) const {
    std::u32string text;
    for (const std::int32_t* label = labels; label != labels + count; ++label) {
        if (*label > std::int32_t(characters_.size())) {
            throw Error("label " + std::to_string(*label) + " is outside a charset of " +
                        std::to_string(characters_.size()) + " characters: the model's file is damaged");
        }
        if (*label > 0) {
            text += characters_[std::size_t(*label) - 1];
        }
    }
    return ToUtf8(reorders_ ? Reordered(text, right_to_left_) : text);
}

std::u32string Charset::OnPage(std::u32string_view text) const {
    const std::u32string composed = Composed(text);
    return reorders_ ? Reordered(composed, right_to_left_) : composed;
}

}  // namespace htr

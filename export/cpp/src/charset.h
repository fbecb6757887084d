// Labels to text and back, as htrcompress/charset.py. Label 0 is the blank, character i of the charset is label i + 1.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "htr/htr.h"

namespace htr {

// Labels stand as on the page, from left to right; texts are in the order of reading.
class Charset {
   public:
    explicit Charset(const Card& card);

    const std::u32string& characters() const { return characters_; }

    // The text of some labels; what is not above 0 is skipped, what is no label refused.
    std::string Decode(const std::int32_t* labels, std::size_t count) const;

    // A text as it stands on the page, in normal form C.
    std::u32string OnPage(std::u32string_view text) const;

   private:
    std::u32string characters_;
    bool right_to_left_;
    bool reorders_;  // whether a text may stand in another order on the page than it is read in
};

}  // namespace htr

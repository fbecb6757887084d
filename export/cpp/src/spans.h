// Where the characters and words of a reading stand in the picture, and how sure each of them is, as
// htrcompress/runtime/spans.py.

#pragma once

#include "charset.h"
#include "confidence.h"

namespace htr {

class SpanFinder {
   public:
    // The parts must outlive this.
    SpanFinder(const Card& card, const Charset& charset, const Language& language);

    // Whether confidences with this language were calibrated; else those are used that come closest.
    bool is_calibrated() const { return is_calibrated_; }

    // Sets the spans of a reading and its confidence. `width` is that of the line as the network had it, `picture` that
    // of the picture as it was given, in pixels.
    void Find(const Logits& logits, const std::vector<std::int32_t>& labels, int width, int picture,
              Reading& reading) const;

   private:
    const Charset& charset_;
    const Language& language_;
    const int stride_;
    bool is_calibrated_;
    Calibration calibration_;
};

}  // namespace htr

// CTC prefix beam search with what is known about the language, as htrcompress/decoding/beam.py; the search itself is
// htrcompress/decoding/cpp/prefix_search.h, which Python uses too.

#pragma once

#include "decoder.h"
#include "language.h"

namespace htr {

class BeamDecoder final : public Decoder {
   public:
    // The language must outlive the decoder.
    BeamDecoder(const BeamOptions& options, const Language& language);

    // The score of a reading is the logarithm of its probability, the language's part included, divided by the number
    // of its labels.
    std::vector<Hypothesis> Decode(const Logits& logits, int n_best) const override;

   private:
    const Language& language_;
    SearchSettings settings_{};
};

}  // namespace htr

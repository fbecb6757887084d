// CTC prefix beam search with a character language model, as htrcompress/decoding/beam.py; the search itself is
// htrcompress/decoding/cpp/prefix_search.h, which Python uses too.

#pragma once

#include <optional>

#include "decoder.h"
#include "ngram_file.h"

namespace htr {

class BeamDecoder final : public Decoder {
   public:
    // Opens the language model that the options name, if any.
    BeamDecoder(const BeamOptions& options, const Card& card);

    // The score of a reading is the logarithm of its probability, the language model's part included, divided by the
    // number of its labels.
    std::vector<Hypothesis> Decode(const Logits& logits, int n_best) const override;

   private:
    std::optional<NGramFile> lm_;
    std::vector<std::uint32_t> symbols_;
    double weight_ = 0;
    SearchSettings settings_{};
};

}  // namespace htr

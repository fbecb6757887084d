// Greedy CTC decoding (Graves et al., 2006): the best label of every frame, as exported graphs compute it.

#pragma once

#include "decoder.h"

namespace htr {

class GreedyDecoder final : public Decoder {
   public:
    // Repeats are collapsed and blanks dropped; of equal logits the lowest label wins. The score is the mean over the
    // labels of the log-probability at their first frame. There is one reading, whatever `n_best` is.
    std::vector<Hypothesis> Decode(const Logits& logits, int n_best) const override;
};

}  // namespace htr

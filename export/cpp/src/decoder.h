// From frames of logits to labels, outside the model. A decoder is one class in one file, and one line in
// `Decoder::Create`.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "htr/htr.h"

namespace htr {

class Language;

// The logits of one line, row by row: `frames` rows of `classes` values, not normalised; class 0 is the blank.
struct Logits {
    const float* values;
    int frames;
    int classes;
};

// One reading of a line.
struct Hypothesis {
    std::vector<std::int32_t> labels;  // without blanks
    float score;                       // the larger the better; minus infinity where there are no labels
};

class Decoder {
   public:
    // The name of the decoder that the options ask for; empty for the decode inside the model.
    static std::string NameOf(const Options& options);

    // That decoder, with a language that outlives it; null for the decode inside the model.
    static std::unique_ptr<Decoder> Create(const Options& options, const Language& language);

    virtual ~Decoder() = default;

    // The readings of a line, the best first: at least one, and at most `n_best`. Several threads may call this at once.
    virtual std::vector<Hypothesis> Decode(const Logits& logits, int n_best) const = 0;
};

}  // namespace htr

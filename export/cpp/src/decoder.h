// From frames of logits to labels, outside the model. A decoder is one class in one file, and one line in
// `Decoder::Create`.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace htr {

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
    // The decoder of that name; null where the name is empty, which stands for the decode inside the model.
    static std::unique_ptr<Decoder> Create(const std::string& name);

    virtual ~Decoder() = default;

    // The best reading of a line. Several threads may call this at once.
    virtual Hypothesis Decode(const Logits& logits) const = 0;
};

}  // namespace htr

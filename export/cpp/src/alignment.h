// Where the characters of a reading stand, and which others could stand in their places, as
// htrcompress/decoding/alignment.py: CTC's forward-backward (Graves et al. 2006) over a given reading.

#pragma once

#include <cstdint>
#include <vector>

namespace htr {

// The probabilities of one line, row by row: `frames` rows of `classes` values that sum up to 1; class 0 is the blank.
struct Probabilities {
    std::vector<float> values;
    int frames;
    int classes;

    const float* Frame(int frame) const { return values.data() + std::size_t(frame) * std::size_t(classes); }
};

// Another character in one place of a reading, or none.
struct Alternative {
    int place;           // which character it replaces
    std::int32_t label;  // by which; the blank stands for nothing
    double log_ratio;    // logarithm of its probability over that of the reading
};

struct Alignment {
    std::vector<int> first, last;  // the frames of each character
    std::vector<Alternative> alternatives;
};

// Aligns a reading; one that its frames cannot write has no alternatives and even spaces.
Alignment Align(const Probabilities& probability, const std::vector<std::int32_t>& labels);

}  // namespace htr

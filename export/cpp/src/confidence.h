// How sure a reading is, as htrcompress/decoding/confidence.py: the odds of each character against all others in its
// place, and the maps that make calibrated probabilities of them.

#pragma once

#include <string>
#include <vector>

#include "alignment.h"
#include "decoder.h"
#include "language.h"

namespace htr {

// From log-odds to a probability.
struct LogisticMap {
    double slope = 1;
    double offset = 0;

    double operator()(double odds) const;
};

// The maps of characters and words; they travel with the model, or with the language model that they belong to.
struct Calibration {
    LogisticMap character, word;

    // Four numbers, or nothing where none was fitted; `where` is named if it is anything else.
    static Calibration FromText(const std::string& text, const std::string& where);
};

// A reading laid on the frames of its line, and the log-odds of its characters before calibration.
struct Sureness {
    Alignment alignment;
    std::vector<double> odds;
};

// How sure the characters of a reading are, by the picture and by what the decoder knows about the language.
Sureness SurenessOf(const Logits& logits, const std::vector<std::int32_t>& labels, const Language& language);

// The log-odds that all are right, as if they were independent.
double Product(const double* begin, const double* end);

}  // namespace htr

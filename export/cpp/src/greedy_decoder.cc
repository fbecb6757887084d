// The same result as htrcompress/decoding/reference.py, which it is tested against.

#include "greedy_decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace htr {
namespace {

constexpr int kBlank = 0;

// NaN counts as the largest value, as in NumPy, so that a broken network gives a score of NaN and no plausible text.
bool Less(float a, float b) { return a < b || (std::isnan(b) && !std::isnan(a)); }

}  // namespace

std::vector<Hypothesis> GreedyDecoder::Decode(const Logits& logits, int) const {
    Hypothesis found{{}, -std::numeric_limits<float>::infinity()};
    float sum = 0;
    int before = kBlank;
    for (int frame = 0; frame < logits.frames; ++frame) {
        const float* begin = logits.values + std::size_t(frame) * logits.classes;
        const float* end = begin + logits.classes;
        const float* peak = std::max_element(begin, end, Less);
        const int best = int(peak - begin);
        if (best != kBlank && best != before) {
            float total = 0;
            for (const float* value = begin; value != end; ++value) {
                total += std::exp(*value - *peak);
            }
            sum -= std::log(total);
            found.labels.push_back(best);
        }
        before = best;
    }
    if (!found.labels.empty()) {
        found.score = sum / float(found.labels.size());
    }
    return {found};
}

}  // namespace htr

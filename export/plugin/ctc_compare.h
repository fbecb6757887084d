// How ctc_check compares scores, apart from it so that the tests can run it without a GPU.

#pragma once

#include <cmath>
#include <cstddef>

namespace htr {

constexpr float kTolerance = 1e-4f;

// Whether all scores are as expected; -inf, of a line without labels, equals itself, and NaN equals nothing.
inline bool scores_agree(const float* found, const float* expected, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (!(found[i] == expected[i] || std::fabs(found[i] - expected[i]) <= kTolerance)) {
            return false;
        }
    }
    return true;
}

}  // namespace htr

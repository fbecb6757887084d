// The search as C functions, which ../compiled.py calls through ctypes.

#include <algorithm>
#include <exception>

#include "prefix_search.h"

namespace {

enum Result : std::int32_t { kDone = 0, kNotNumbers = 1, kFailed = 2 };

}  // namespace

extern "C" {

// Changes with what the functions take; `ABI` in ../compiled.py.
std::int32_t htr_abi() { return 1; }

// Decodes some lines with `count` scorers: `logits` is (lines, steps, classes), `frames` the valid steps of each. `labels` is (lines, n_best,
// steps), `lengths` and `scores` (lines, n_best); the length is -1 where a line has no more readings.
std::int32_t htr_decode(const htr::ScorerView* scorers, std::int32_t count, const htr::SearchSettings* settings,
                        const float* logits, std::int64_t lines, std::int64_t steps, std::int32_t classes,
                        const std::int64_t* frames, std::int32_t n_best, std::int32_t* labels, std::int32_t* lengths,
                        double* scores) {
    try {
        htr::PrefixSearch search({scorers, scorers + count}, classes, *settings);
        for (std::int64_t line = 0; line < lines; ++line) {
            const auto found = search.Decode(logits + line * steps * classes, frames[line], n_best);
            std::fill_n(lengths + line * n_best, n_best, -1);
            for (std::size_t i = 0; i < found.size(); ++i) {
                const std::int64_t row = line * n_best + std::int64_t(i);
                std::copy(found[i].labels.begin(), found[i].labels.end(), labels + row * steps);
                lengths[row] = std::int32_t(found[i].labels.size());
                scores[row] = found[i].score;
            }
        }
        return kDone;
    } catch (const htr::NotNumbers&) {
        return kNotNumbers;
    } catch (const std::exception&) {
        return kFailed;
    }
}

}  // extern "C"

// The CTC kernel's body on the CPU, for tests: each block is a loop over its threads.
//
//   g++ -O2 -std=c++17 -shared -fPIC ctc_decode_host.cpp -o libhtr_ctc_host.so
//
// tests/test_plugin.py compares it with the NumPy reference. Running the threads of every phase backwards must change
// nothing: if it did, a phase would depend on the order of its threads, which a GPU does not promise.

#include <cstring>

#include "ctc_compare.h"
#include "ctc_decode_body.h"

namespace {

struct HostBlock {
    bool backwards;

    template <class Phase>
    void operator()(const Phase& phase) const {
        for (int i = 0; i < htr::kThreads; ++i) {
            phase(backwards ? htr::kThreads - 1 - i : i);
        }
    }
};

template <class Logit>
void decode(const void* logits, const std::int32_t* frames, int batch, int steps, int classes, std::int32_t* labels,
            std::int32_t* lengths, float* scores, bool backwards) {
    for (int row = 0; row < batch; ++row) {
        htr::Shared shared;
        std::memset(&shared, 0xFF, sizeof shared);  // NaN and -1: as on a GPU, nothing is zero at first
        const auto line = htr::line_of_batch(static_cast<const Logit*>(logits), frames, row, steps, classes, labels,
                                             lengths, scores);
        htr::decode_line(line, shared, HostBlock{backwards});
    }
}

}  // namespace

// As ctc_decode_launch in ctc_decode.h, with pointers in host memory.
extern "C" void ctc_decode_host(const void* logits, int half, const std::int32_t* frames, int batch, int steps,
                                int classes, std::int32_t* labels, std::int32_t* lengths, float* scores,
                                int backwards) {
    const auto run = half ? decode<htr::Half> : decode<float>;
    run(logits, frames, batch, steps, classes, labels, lengths, scores, backwards != 0);
}

// What ctc_check calls equal scores.
extern "C" int ctc_scores_agree_host(const float* found, const float* expected, int count) {
    return htr::scores_agree(found, expected, std::size_t(count));
}

// What runs a network: pixels and widths in, labels or logits out. A back end is one class in one file, and one line
// in `Backend::Create`. Everything around it is in recognizer.cc, once.

#pragma once

#include "htr/htr.h"

namespace htr {

// Lines side by side: pixels (lines, height, width), white beyond each line's own width.
struct Batch {
    int height = 0;
    int width = 0;
    std::vector<std::int32_t> widths;
    std::vector<std::uint8_t> pixels;
};

// What a network gives for a batch: labels, lengths and scores, unless the back end was opened for a decoder; logits if
// it was, or if they are asked for.
struct Output {
    std::vector<std::int32_t> labels;   // (lines, frames), padded with -1
    std::vector<std::int32_t> lengths;  // (lines)
    std::vector<float> scores;          // (lines)
    std::vector<float> logits;          // (lines, frames, characters + 1)
};

class Backend {
   public:
    // Opens a model with the back end of its suffix.
    static std::unique_ptr<Backend> Create(const std::filesystem::path& model, const Options& options);

    virtual ~Backend() = default;

    virtual Output Run(const Batch& batch, bool logits) = 0;

    // The same network for `num_streams` threads at once, each of which computes its batch alone; itself if that is 1.
    virtual Backend& Stream() { return *this; }

    Card card;
    int num_streams = 1;
    int max_batch = 1 << 16;  // lines at once
    int min_width = 1;        // of a batch; narrower ones are filled with white
    int max_width = 1 << 20;  // of a batch
};

}  // namespace htr

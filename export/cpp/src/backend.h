// What runs a network: ONNX Runtime or TensorRT. Everything around it is in recognizer.cpp, once.

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

// The decode of a batch: labels (lines, frames) padded with -1, lengths (lines), scores (lines).
struct Decoded {
    std::vector<std::int32_t> labels;
    std::vector<std::int32_t> lengths;
    std::vector<float> scores;
};

class Backend {
   public:
    virtual ~Backend() = default;

    virtual Decoded run(const Batch& batch) = 0;

    // The same network for `lanes` threads at once, each of which computes its batch alone; itself if that is 1.
    virtual Backend& lane() { return *this; }

    Card card;
    int lanes = 1;
    int max_batch = 1 << 16;  // lines at once
    int min_width = 1;        // of a batch; narrower ones are filled with white
    int max_width = 1 << 20;  // of a batch
};

std::unique_ptr<Backend> open_onnxruntime(const std::filesystem::path& model, const Options& options);
std::unique_ptr<Backend> open_tensorrt(const std::filesystem::path& model, const Options& options);

}  // namespace htr

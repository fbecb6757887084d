// From lines to text over either back end: scaling, batches by width, labels to characters.

#include <algorithm>
#include <numeric>
#include <system_error>

#include "backend.h"

namespace htr {
namespace {

constexpr std::uint8_t kWhite = 255;

std::unique_ptr<Backend> open(const std::filesystem::path& model, const Options& options) {
    const std::string name = model.string();
    if (options.batch_size < 1 || options.threads < 0) {
        throw Error("the batch size must be at least 1 and the threads at least 0");
    }
    std::error_code none;
    if (!std::filesystem::is_regular_file(model, none)) {
        throw Error("no model at " + name);
    }
    if (model.extension() == ".onnx") {
#ifdef HTR_ONNXRUNTIME
        return open_onnxruntime(model, options);
#else
        throw Error("this library was built without ONNX Runtime and cannot open " + name +
                    ": build it with ONNXRUNTIME_ROOT");
#endif
    }
    if (model.extension() == ".engine") {
#ifdef HTR_TENSORRT
        return open_tensorrt(model, options);
#else
        throw Error("this library was built without TensorRT and cannot open " + name +
                    ": build it with TENSORRT_ROOT");
#endif
    }
    throw Error(name + " is not an exported model: give an .onnx or .engine file");
}

Batch stack(const std::vector<Image>& lines, const std::vector<std::size_t>& chosen, int height, int min_width) {
    Batch batch;
    batch.height = height;
    batch.width = min_width;
    for (const std::size_t i : chosen) {
        batch.widths.push_back(lines[i].width);
        batch.width = std::max(batch.width, lines[i].width);
    }
    batch.pixels.assign(chosen.size() * height * batch.width, kWhite);
    auto row = batch.pixels.begin();
    for (const std::size_t i : chosen) {
        for (int y = 0; y < height; ++y, row += batch.width) {
            std::copy_n(lines[i].pixels.begin() + std::ptrdiff_t(y) * lines[i].width, lines[i].width, row);
        }
    }
    return batch;
}

std::string text_of(const std::int32_t* labels, std::int32_t length, const std::vector<std::string>& charset) {
    std::string text;
    for (const std::int32_t* label = labels; label != labels + length; ++label) {
        if (*label > std::int32_t(charset.size())) {
            throw Error("label " + std::to_string(*label) + " is outside a charset of " +
                        std::to_string(charset.size()) + " characters: the model's file is damaged");
        }
        if (*label > 0) {
            text += charset[*label - 1];
        }
    }
    return text;
}

}  // namespace

Recognizer::Recognizer(const std::filesystem::path& model, const Options& options)
    : backend_(open(model, options)), batch_size_(std::min(options.batch_size, backend_->max_batch)) {}

Recognizer::Recognizer(Recognizer&&) noexcept = default;
Recognizer& Recognizer::operator=(Recognizer&&) noexcept = default;
Recognizer::~Recognizer() = default;

const Card& Recognizer::card() const { return backend_->card; }

Image Recognizer::prepare(const Image& image, const std::string& name) const {
    return normalise(image, card().height, std::min(card().max_width, backend_->max_width), name);
}

std::vector<Reading> Recognizer::read(const std::vector<Image>& images) {
    std::vector<Image> lines;
    for (const Image& image : images) {
        lines.push_back(prepare(image, "image " + std::to_string(lines.size() + 1)));
    }
    std::vector<std::size_t> order(lines.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return lines[a].width < lines[b].width; });

    std::vector<Reading> readings(lines.size());
    for (std::size_t start = 0; start < order.size(); start += batch_size_) {
        const std::size_t end = std::min(order.size(), start + batch_size_);
        const std::vector<std::size_t> chosen(order.begin() + start, order.begin() + end);
        const Decoded decoded = backend_->run(stack(lines, chosen, card().height, backend_->min_width));
        const std::size_t frames = decoded.labels.size() / chosen.size();
        for (std::size_t row = 0; row < chosen.size(); ++row) {
            const std::int32_t length = decoded.lengths[row];
            if (length < 0 || std::size_t(length) > frames) {
                throw Error("the model gave " + std::to_string(length) + " labels for " + std::to_string(frames) +
                            " frames: its file is damaged");
            }
            readings[chosen[row]] = {text_of(decoded.labels.data() + row * frames, length, card().charset),
                                     decoded.scores[row]};
        }
    }
    return readings;
}

}  // namespace htr

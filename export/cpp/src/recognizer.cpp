// From lines to text over either back end: scaling, batches by width, labels to characters.

#include <algorithm>
#include <atomic>
#include <exception>
#include <numeric>
#include <system_error>
#include <thread>

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

void read_batch(Backend& backend, const Batch& batch, const std::vector<std::size_t>& chosen,
                std::vector<Reading>& readings) {
    const Decoded decoded = backend.run(batch);
    const std::size_t frames = decoded.labels.size() / chosen.size();
    for (std::size_t row = 0; row < chosen.size(); ++row) {
        const std::int32_t length = decoded.lengths[row];
        if (length < 0 || std::size_t(length) > frames) {
            throw Error("the model gave " + std::to_string(length) + " labels for " + std::to_string(frames) +
                        " frames: its file is damaged");
        }
        readings[chosen[row]] = {text_of(decoded.labels.data() + row * frames, length, backend.card.charset),
                                 decoded.scores[row]};
    }
}

// Calls `work` with 0 to count - 1, on so many threads; the first failure ends it and is thrown again.
template <class Work>
void side_by_side(std::size_t threads, std::size_t count, const Work& work) {
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> failures(threads);
    const auto take = [&](std::size_t thread) {
        try {
            for (std::size_t number; (number = next++) < count;) {
                work(number);
            }
        } catch (...) {
            failures[thread] = std::current_exception();
            next = count;
        }
    };
    std::vector<std::thread> others;
    try {
        while (others.size() + 1 < threads) {
            others.emplace_back(take, others.size() + 1);
        }
    } catch (const std::system_error&) {  // there are no more threads to be had: those that are there do it
    }
    take(0);
    for (std::thread& other : others) {
        other.join();
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
}

}  // namespace

Recognizer::Recognizer(const std::filesystem::path& model, const Options& options)
    : backend_(open(model, options)), batch_size_(options.batch_size) {}

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

    // Threads that wait for no other read more, so batches go side by side where there is a line for each.
    const std::size_t at_once = std::min(batch_size_, backend_->max_batch);
    const bool side = std::min(lines.size(), at_once) >= std::size_t(backend_->lanes);
    const std::size_t lanes = side ? backend_->lanes : 1;
    Backend& backend = lanes > 1 ? backend_->lane() : *backend_;
    const std::size_t size = std::max<std::size_t>(1, std::min(at_once / lanes, (lines.size() + lanes - 1) / lanes));
    std::vector<Reading> readings(lines.size());
    side_by_side(lanes, (order.size() + size - 1) / size, [&](std::size_t number) {
        const auto start = order.begin() + number * size;
        const std::vector<std::size_t> chosen(start, start + std::min(size, order.size() - number * size));
        read_batch(backend, stack(lines, chosen, backend.card.height, backend.min_width), chosen, readings);
    });
    return readings;
}

}  // namespace htr

// A graph is compared with its card before the first line is read, so that a foreign one is refused in one sentence.

#include "onnxruntime_backend.h"

#include <algorithm>

#include "cores.h"
#include "file.h"
#include "metadata.h"

namespace htr {
namespace {

constexpr std::uintmax_t kMaxModel = std::uintmax_t(4) << 30;
constexpr int kLinesPerThread = 8;  // with more lines, a layer's result is larger than the caches

int ThreadsOf(const Options& options) { return options.threads > 0 ? options.threads : AvailableCores(); }

}  // namespace

std::unique_ptr<Backend> OnnxRuntimeBackend::Create(const std::filesystem::path& model, const Options& options) {
    std::string bytes = ReadFile(model, kMaxModel, "give a file that you may read");
    return std::make_unique<OnnxRuntimeBackend>(model.string(), std::move(bytes), options);
}

OnnxRuntimeBackend::OnnxRuntimeBackend(std::string name, std::string model, const Options& options)
    : name_(std::move(name)), model_(std::move(model)), options_(options),
      session_(name_, model_, options.runtime, ThreadsOf(options)) {
    card = ReadCard([&](const std::string& key) { return session_.FindMetadata(key); }, name_);
    num_streams = ThreadsOf(options);
    max_batch = kLinesPerThread * num_streams;
    RequireFit();
}

Backend& OnnxRuntimeBackend::Stream() {
    if (num_streams > 1 && stream_ == nullptr) {
        Options one = options_;
        one.threads = 1;
        stream_ = std::make_unique<OnnxRuntimeBackend>(name_, model_, one);
    }
    return stream_ == nullptr ? *this : *stream_;
}

Output OnnxRuntimeBackend::Run(const Batch& batch, bool logits) {
    const std::size_t lines = batch.widths.size();
    const bool decoded = options_.decoder.empty();
    std::vector<const char*> names;
    if (decoded) {
        names = {"labels", "lengths", "scores"};
    }
    if (decoded && logits) {
        RequireLogits("confidences need");
    }
    if (logits || !decoded) {
        names.push_back("logits");
    }
    const auto values = session_.Run(batch, names);
    Output output;
    bool good = true;
    if (decoded) {
        output.labels = session_.Copy<std::int32_t>(values[0].get());
        output.lengths = session_.Copy<std::int32_t>(values[1].get());
        output.scores = session_.Copy<float>(values[2].get());
        good = output.lengths.size() == lines && output.scores.size() == lines && output.labels.size() % lines == 0;
    }
    if (names.back() == std::string("logits")) {
        output.logits = session_.Copy<float>(values.back().get());
        good = good && output.logits.size() % (lines * (card.charset.size() + 1)) == 0;
    }
    if (!good) {
        throw Error("the graph in " + name_ + " gives results of the wrong shape: export the model again");
    }
    return output;
}

// Refuses a graph without logits, or with some that do not fit its card.
void OnnxRuntimeBackend::RequireLogits(const std::string& who) const {
    const std::vector<TensorInfo> outputs = session_.Outputs();
    const auto found =
        std::find_if(outputs.begin(), outputs.end(), [](const TensorInfo& info) { return info.name == "logits"; });
    if (found == outputs.end()) {
        throw Error(name_ + " gives no logits, which " + who + ": export the model again");
    }
    const auto classes = std::int64_t(card.charset.size()) + 1;
    if (!(*found == TensorInfo{"logits", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {-1, -1, classes}})) {
        throw Error("the graph in " + name_ + " does not fit its card: export the model again");
    }
}

// Refuses a graph that does not take and give what its card promises, or not what a decoder needs.
void OnnxRuntimeBackend::RequireFit() const {
    const std::vector<TensorInfo> inputs = session_.Inputs(), outputs = session_.Outputs();
    const auto takes = [&](const TensorInfo& tensor) {
        return std::count(inputs.begin(), inputs.end(), tensor) == 1;
    };
    const auto gives = [&](const TensorInfo& tensor) {
        return std::count(outputs.begin(), outputs.end(), tensor) == 1;
    };
    const auto named = [&](const char* name) {
        return std::any_of(outputs.begin(), outputs.end(), [&](const TensorInfo& info) { return info.name == name; });
    };
    const bool decoded = options_.decoder.empty();
    if (decoded && named("logits") && !named("labels")) {
        throw Error(name_ + " gives logits and no labels: export the model without --decode none, or name a decoder");
    }
    bool fits = inputs.size() == 2 &&
                takes({"pixels", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, {-1, 1, card.height, -1}}) &&
                takes({"widths", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1}});
    if (decoded) {
        fits = fits && gives({"labels", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1, -1}}) &&
               gives({"lengths", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1}}) &&
               gives({"scores", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {-1}});
    } else {
        RequireLogits("the decoder " + options_.decoder + " needs");
    }
    if (!fits) {
        throw Error("the graph in " + name_ + " does not fit its card: export the model again");
    }
}

}  // namespace htr

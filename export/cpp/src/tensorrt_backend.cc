// An engine runs only on the TensorRT that built it, and only for the sizes of its profile.

#include "tensorrt_backend.h"

#include <algorithm>

namespace htr {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorIOMode;

constexpr std::size_t kUnknown = 0;

std::size_t ElementSize(DataType type) {
    switch (type) {
        case DataType::kUINT8: return 1;
        case DataType::kHALF: return 2;
        case DataType::kINT32:
        case DataType::kFLOAT: return 4;
        default: return kUnknown;
    }
}

std::size_t CountOf(const nvinfer1::Dims& shape) {
    std::size_t count = 1;
    for (int i = 0; i < shape.nbDims; ++i) {
        count *= std::size_t(std::max<std::int64_t>(shape.d[i], 0));
    }
    return shape.nbDims < 0 ? kUnknown : count;
}

}  // namespace

std::unique_ptr<Backend> TensorRtBackend::Create(const std::filesystem::path& model, const Options& options) {
    return std::make_unique<TensorRtBackend>(model, options);
}

TensorRtBackend::TensorRtBackend(const std::filesystem::path& model, const Options& options)
    : name_(model.string()), decoder_(options.decoder) {
    const EngineDocument document = ReadEngineDocument(model);
    card = document.card;
    Load(model, document, options.runtime.empty() ? TensorRtLibrary(document.runtime) : options.runtime);
    RequireFit();
    ReadProfile();
    context_.reset(engine_->createExecutionContext());
    Require(context_ != nullptr, "cannot make a context for it");
    stream_ = MakeCudaStream();
}

void TensorRtBackend::Load(const std::filesystem::path& model, const EngineDocument& document,
                           const std::string& library) {
    const std::string plan = ReadEngine(model, document);  // first: nothing is loaded for a file that is damaged
    if (!document.plugin.empty()) {
        LoadTensorRtPlugin(library, document.plugin);
    }
    runtime_ = MakeTensorRtRuntime(library, log_);
    Require(runtime_ != nullptr, "cannot start");
    engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    Require(engine_ != nullptr, "cannot load it; it was built by " + document.runtime + " " + document.version +
                                    " and runs on that alone");
}

Output TensorRtBackend::Run(const Batch& batch, bool logits) {
    const bool decoded = decoder_.empty();
    if (decoded && logits) {
        RequireLogits("confidences need");
    }
    const auto lines = std::int64_t(batch.widths.size());
    bool good = context_->setInputShape("pixels", nvinfer1::Dims4{lines, 1, batch.height, batch.width});
    nvinfer1::Dims width_shape{};
    width_shape.nbDims = 1;
    width_shape.d[0] = lines;
    good = context_->setInputShape("widths", width_shape) && good;
    Require(good, "was built for other batches: export it for this batch size and width");
    for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
        const char* tensor = engine_->getIOTensorName(i);
        void* memory = buffers_[tensor].Reserve(std::max<std::size_t>(1, BytesOf(tensor)));
        Require(context_->setTensorAddress(tensor, memory), "takes no memory");
    }
    Upload("pixels", batch.pixels);
    Upload("widths", batch.widths);
    Require(context_->enqueueV3(stream_.get()), "failed to run");
    Output output;
    if (decoded) {
        output.labels = Download<std::int32_t>("labels");
        output.lengths = Download<std::int32_t>("lengths");
        output.scores = Download<float>("scores");
        good = output.lengths.size() == batch.widths.size() && output.scores.size() == batch.widths.size() &&
               output.labels.size() % batch.widths.size() == 0;
    }
    if (logits || !decoded) {
        output.logits = Download<float>("logits");
        good = good && output.logits.size() % (batch.widths.size() * (card.charset.size() + 1)) == 0;
    }
    CheckCuda(cudaStreamSynchronize(stream_.get()), "run the engine");
    Require(good, "gives results of the wrong shape");
    return output;
}

void TensorRtBackend::Require(bool good, const std::string& what) const {
    if (!good) {
        throw Error(name_ + ": TensorRT " + what + " (" + log_.Reason() + ")");
    }
}

bool TensorRtBackend::Gives(const char* tensor) const {
    return engine_->getTensorIOMode(tensor) == TensorIOMode::kOUTPUT;
}

// Refuses an engine without logits, or with some that do not fit its card.
void TensorRtBackend::RequireLogits(const std::string& who) const {
    if (!Gives("logits")) {
        throw Error(name_ + " gives no logits, which " + who + ": export the model again");
    }
    const nvinfer1::Dims shape = engine_->getTensorShape("logits");
    if (engine_->getTensorDataType("logits") != DataType::kFLOAT || shape.nbDims != 3 ||
        shape.d[2] != std::int64_t(card.charset.size()) + 1) {
        throw Error("the engine " + name_ + " does not fit its card: export the model again");
    }
}

// Refuses an engine that does not take and give what its card promises, or not what a decoder needs.
void TensorRtBackend::RequireFit() const {
    if (decoder_.empty() && Gives("logits") && !Gives("labels")) {
        throw Error(name_ + " gives logits and no labels: export the model without --decode none, or name a decoder");
    }
    const auto has = [&](const char* tensor, TensorIOMode mode, DataType type) {
        return engine_->getTensorIOMode(tensor) == mode && engine_->getTensorDataType(tensor) == type;
    };
    const nvinfer1::Dims shape = engine_->getTensorShape("pixels");
    bool fits = has("pixels", TensorIOMode::kINPUT, DataType::kUINT8) &&
                has("widths", TensorIOMode::kINPUT, DataType::kINT32) && shape.nbDims == 4 && shape.d[1] == 1 &&
                shape.d[2] == card.height;
    if (decoder_.empty()) {
        fits = fits && has("labels", TensorIOMode::kOUTPUT, DataType::kINT32) &&
               has("lengths", TensorIOMode::kOUTPUT, DataType::kINT32) &&
               has("scores", TensorIOMode::kOUTPUT, DataType::kFLOAT);
    } else {
        RequireLogits("the decoder " + decoder_ + " needs");
    }
    for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
        fits = fits && ElementSize(engine_->getTensorDataType(engine_->getIOTensorName(i))) != kUnknown;
    }
    if (!fits) {
        throw Error("the engine " + name_ + " does not fit its card: export the model again");
    }
}

// Notes the sizes that the engine takes.
void TensorRtBackend::ReadProfile() {
    using nvinfer1::OptProfileSelector;
    const nvinfer1::Dims least = engine_->getProfileShape("pixels", 0, OptProfileSelector::kMIN);
    const nvinfer1::Dims most = engine_->getProfileShape("pixels", 0, OptProfileSelector::kMAX);
    max_batch = int(most.d[0]);
    min_width = int(least.d[3]);
    max_width = int(most.d[3]);
    if (least.d[0] > 1 || max_batch < 1 || max_width < 1) {
        throw Error("the engine " + name_ + " does not take a single line: export it with batches from 1");
    }
}

std::size_t TensorRtBackend::BytesOf(const char* tensor) const {
    return CountOf(context_->getTensorShape(tensor)) * ElementSize(engine_->getTensorDataType(tensor));
}

template <class T>
void TensorRtBackend::Upload(const char* tensor, const std::vector<T>& values) {
    CheckCuda(cudaMemcpyAsync(buffers_[tensor].get(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                              stream_.get()),
              "copy a batch to the GPU");
}

// The values arrive when the stream has been synchronised.
template <class T>
std::vector<T> TensorRtBackend::Download(const char* tensor) {
    std::vector<T> values(BytesOf(tensor) / sizeof(T));
    CheckCuda(cudaMemcpyAsync(values.data(), buffers_[tensor].get(), values.size() * sizeof(T), cudaMemcpyDeviceToHost,
                              stream_.get()),
              "copy a result from the GPU");
    return values;
}

}  // namespace htr

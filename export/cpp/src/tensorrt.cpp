// An exported .engine run by TensorRT or TensorRT-RTX on the GPU, as the `.json` beside it says.
//
// Compiled where TensorRT's headers (TENSORRT_ROOT) and the CUDA toolkit are. The headers must be of the library's
// own major version. An engine runs only on the TensorRT that built it.

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "backend.h"
#include "document.h"
#include "library.h"

namespace htr {
namespace {

constexpr std::size_t kNoCount = 0;
constexpr char kRtxLibrary[] = "libtensorrt_rtx.so.1";
constexpr char kPlugin[] = "CtcGreedyDecode";  // as export/plugin/ctc_plugin.cpp names it
constexpr char kPluginVersion[] = "1";
constexpr char kPluginNamespace[] = "htrcompress";

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw Error(std::string("CUDA failed to ") + what + ": " + cudaGetErrorString(status));
    }
}

// Makes TensorRT know the decode of `export/plugin`, which the engine was exported with.
void load_plugin(const std::string& runtime, const std::filesystem::path& library) {
    void* function = load_function({runtime}, "getPluginRegistry", "TensorRT");
    nvinfer1::IPluginRegistry* registry = reinterpret_cast<decltype(&getPluginRegistry)>(function)();
    const auto known = [&] { return registry->getCreator(kPlugin, kPluginVersion, kPluginNamespace) != nullptr; };
    if (!known()) {
        registry->loadLibrary(library.c_str());
    }
    if (!known()) {
        throw Error("TensorRT cannot load the plugin " + library.string() + ": build it with this TensorRT's headers");
    }
}

// Keeps TensorRT's last error for the sentence that reports it. TensorRT may log from several threads.
class Log final : public nvinfer1::ILogger {
   public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kERROR) {
            try {
                const std::lock_guard<std::mutex> lock(mutex_);
                last_ = message;
            } catch (const std::exception&) {  // no memory: the sentence does without
            }
        }
    }

    std::string reason() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return last_.empty() ? "no reason given" : last_.substr(0, last_.find('\n'));
    }

   private:
    mutable std::mutex mutex_;
    std::string last_;
};

// Device memory that grows as needed.
class Buffer {
   public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { cudaFree(data_); }

    void* reserve(std::size_t bytes) {
        if (bytes > bytes_) {
            cudaFree(data_);
            data_ = nullptr;
            bytes_ = 0;
            check(cudaMalloc(&data_, bytes), "allocate memory; a smaller batch may pass");
            bytes_ = bytes;
        }
        return data_;
    }

    void* get() const { return data_; }

   private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

struct StreamDeleter {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};

std::size_t element_size(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kUINT8: return 1;
        case nvinfer1::DataType::kHALF: return 2;
        case nvinfer1::DataType::kINT32:
        case nvinfer1::DataType::kFLOAT: return 4;
        default: return kNoCount;
    }
}

std::size_t count_of(const nvinfer1::Dims& shape) {
    std::size_t count = 1;
    for (int i = 0; i < shape.nbDims; ++i) {
        count *= std::size_t(std::max<std::int64_t>(shape.d[i], 0));
    }
    return shape.nbDims < 0 ? kNoCount : count;
}

class TensorRtBackend final : public Backend {
   public:
    TensorRtBackend(const std::filesystem::path& model, const Options& options) : name_(model.string()) {
        const EngineDocument document = read_engine_document(model);
        card = document.card;
        const std::string usual =
            document.runtime == "tensorrt-rtx" ? kRtxLibrary : "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
        const std::string library = options.runtime.empty() ? usual : options.runtime;
        if (!document.plugin.empty()) {
            load_plugin(library, document.plugin);
        }
        void* function = load_function({library}, "createInferRuntime_INTERNAL", "TensorRT");
        const auto create = reinterpret_cast<decltype(&createInferRuntime_INTERNAL)>(function);
        runtime_.reset(static_cast<nvinfer1::IRuntime*>(create(&log_, NV_TENSORRT_VERSION)));
        require(runtime_ != nullptr, "cannot start");
        const std::string plan = read_file(model, "export the model again");
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        require(engine_ != nullptr, "cannot load it; it was built by " + document.runtime + " " + document.version +
                                         " and runs on that alone");
        require_fit();
        context_.reset(engine_->createExecutionContext());
        require(context_ != nullptr, "cannot make a context for it");
        cudaStream_t stream = nullptr;
        check(cudaStreamCreate(&stream), "make a stream");
        stream_.reset(stream);
    }

    Decoded run(const Batch& batch) override {
        const auto lines = std::int64_t(batch.widths.size());
        bool good = context_->setInputShape("pixels", nvinfer1::Dims4{lines, 1, batch.height, batch.width});
        nvinfer1::Dims width_shape{};
        width_shape.nbDims = 1;
        width_shape.d[0] = lines;
        good = context_->setInputShape("widths", width_shape) && good;
        require(good, "was built for other batches: export it for this batch size and width");
        for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
            const char* tensor = engine_->getIOTensorName(i);
            void* memory = buffers_[tensor].reserve(std::max<std::size_t>(1, bytes_of(tensor)));
            require(context_->setTensorAddress(tensor, memory), "takes no memory");
        }
        upload("pixels", batch.pixels);
        upload("widths", batch.widths);
        require(context_->enqueueV3(stream_.get()), "failed to run");
        Decoded decoded{download<std::int32_t>("labels"), download<std::int32_t>("lengths"), download<float>("scores")};
        check(cudaStreamSynchronize(stream_.get()), "run the engine");
        require(decoded.lengths.size() == batch.widths.size() && decoded.scores.size() == batch.widths.size() &&
                    decoded.labels.size() % batch.widths.size() == 0,
                "gives results of the wrong shape");
        return decoded;
    }

   private:
    void require(bool good, const std::string& what) const {
        if (!good) {
            throw Error(name_ + ": TensorRT " + what + " (" + log_.reason() + ")");
        }
    }

    // Refuses an engine that does not take and give what the card promises, and notes the sizes that it takes.
    void require_fit() {
        using nvinfer1::DataType;
        using nvinfer1::OptProfileSelector;
        const std::pair<const char*, DataType> expected[] = {{"pixels", DataType::kUINT8},
                                                             {"widths", DataType::kINT32},
                                                             {"labels", DataType::kINT32},
                                                             {"lengths", DataType::kINT32},
                                                             {"scores", DataType::kFLOAT}};
        bool fits = true;
        for (const auto& [tensor, type] : expected) {
            const bool input = tensor == expected[0].first || tensor == expected[1].first;
            fits = fits && engine_->getTensorDataType(tensor) == type &&
                   engine_->getTensorIOMode(tensor) ==
                       (input ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT);
        }
        const nvinfer1::Dims shape = engine_->getTensorShape("pixels");
        fits = fits && shape.nbDims == 4 && shape.d[1] == 1 && shape.d[2] == card.height;
        for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
            fits = fits && element_size(engine_->getTensorDataType(engine_->getIOTensorName(i))) != kNoCount;
        }
        const auto gives = [&](const char* tensor) {
            return engine_->getTensorIOMode(tensor) == nvinfer1::TensorIOMode::kOUTPUT;
        };
        if (gives("logits") && !gives("labels")) {
            throw Error("the engine " + name_ + " gives logits and no labels: export the model without --decode none");
        }
        if (!fits) {
            throw Error("the engine " + name_ + " does not fit its card: export the model again");
        }
        const nvinfer1::Dims least = engine_->getProfileShape("pixels", 0, OptProfileSelector::kMIN);
        const nvinfer1::Dims most = engine_->getProfileShape("pixels", 0, OptProfileSelector::kMAX);
        max_batch = int(most.d[0]);
        min_width = int(least.d[3]);
        max_width = int(most.d[3]);
        if (least.d[0] > 1 || max_batch < 1 || max_width < 1) {
            throw Error("the engine " + name_ + " does not take a single line: export it with batches from 1");
        }
    }

    std::size_t bytes_of(const char* tensor) const {
        return count_of(context_->getTensorShape(tensor)) * element_size(engine_->getTensorDataType(tensor));
    }

    template <class T>
    void upload(const char* tensor, const std::vector<T>& values) {
        check(cudaMemcpyAsync(buffers_[tensor].get(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice,
                              stream_.get()),
              "copy a batch to the GPU");
    }

    // The values arrive when the stream has been synchronised.
    template <class T>
    std::vector<T> download(const char* tensor) {
        std::vector<T> values(bytes_of(tensor) / sizeof(T));
        check(cudaMemcpyAsync(values.data(), buffers_[tensor].get(), values.size() * sizeof(T), cudaMemcpyDeviceToHost,
                              stream_.get()),
              "copy a result from the GPU");
        return values;
    }

    std::string name_;
    Log log_;  // outlives all that is below, which may still write to it
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::unique_ptr<CUstream_st, StreamDeleter> stream_;
    std::map<std::string, Buffer> buffers_;
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const std::filesystem::path& model, const Options& options) {
    return std::make_unique<TensorRtBackend>(model, options);
}

}  // namespace htr

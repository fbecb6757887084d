// An exported .engine run by TensorRT or TensorRT-RTX on the GPU; its card is in the `.json` beside it.
//
// Compiled where TensorRT's headers (TENSORRT_ROOT) and the CUDA toolkit are. The headers must be of the library's
// own major version. An engine runs only on the TensorRT that built it.

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>

#include "backend.h"
#include "card.h"
#include "library.h"

namespace htr {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t(4) << 30;
constexpr std::size_t kNoCount = 0;

std::string read_file(const std::filesystem::path& path, const std::string& advice) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    std::ifstream file(path, std::ios::binary);
    if (error || !file || bytes > kMaxFileBytes) {
        throw Error(path.string() + " is missing or cannot be read: " + advice);
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw Error(std::string("CUDA failed to ") + what + ": " + cudaGetErrorString(status));
    }
}

// Keeps TensorRT's last error for the sentence that reports it.
class Log final : public nvinfer1::ILogger {
   public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kERROR) {
            try {
                last_ = message;
            } catch (const std::bad_alloc&) {
                last_.clear();
            }
        }
    }

    std::string reason() const { return last_.empty() ? "no reason given" : last_.substr(0, last_.find('\n')); }

   private:
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
        const std::string document = read_file(name_ + ".json", "it is written beside the engine; copy both");
        const json::Value root = json::parse(document, name_ + ".json");
        const json::Value* stored = root.find("card");
        card = read_card(stored ? *stored : root, name_ + ".json");

        const std::string library =
            options.runtime.empty() ? "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR) : options.runtime;
        void* function = load_function({library}, "createInferRuntime_INTERNAL", "TensorRT");
        const auto create = reinterpret_cast<decltype(&createInferRuntime_INTERNAL)>(function);
        runtime_.reset(static_cast<nvinfer1::IRuntime*>(create(&log_, NV_TENSORRT_VERSION)));
        require(runtime_ != nullptr, "cannot start");
        const std::string plan = read_file(model, "export the model again");
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        require(engine_ != nullptr, "cannot load it; an engine runs only on the TensorRT that built it");
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

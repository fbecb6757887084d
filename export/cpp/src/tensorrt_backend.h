// An exported .engine run by TensorRT or TensorRT-RTX on the GPU, as the document beside it says.

#pragma once

#include <map>

#include "backend.h"
#include "cuda_memory.h"
#include "engine_file.h"
#include "tensorrt_runtime.h"

namespace htr {

class TensorRtBackend final : public Backend {
   public:
    static std::unique_ptr<Backend> Create(const std::filesystem::path& model, const Options& options);

    TensorRtBackend(const std::filesystem::path& model, const Options& options);

    Output Run(const Batch& batch, bool logits) override;

   private:
    void Load(const std::filesystem::path& model, const EngineDocument& document, const std::string& library);
    void Require(bool good, const std::string& what) const;
    bool Gives(const char* tensor) const;
    void RequireFit() const;
    void RequireLogits(const std::string& who) const;
    void ReadProfile();
    std::size_t BytesOf(const char* tensor) const;

    template <class T>
    void Upload(const char* tensor, const std::vector<T>& values);
    template <class T>
    std::vector<T> Download(const char* tensor);

    std::string name_;
    std::string decoder_;
    TensorRtLog log_;  // before all that may still write to it when it is destroyed
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    CudaStream stream_;
    std::map<std::string, CudaBuffer> buffers_;
};

}  // namespace htr

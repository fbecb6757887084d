// TensorRT or TensorRT-RTX, loaded when the first engine is opened.

#pragma once

#include <NvInferRuntime.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

namespace htr {

// Keeps TensorRT's last error for the sentence that reports it. TensorRT may log from several threads.
class TensorRtLog final : public nvinfer1::ILogger {
   public:
    void log(Severity severity, const char* message) noexcept override;
    std::string Reason() const;

   private:
    mutable std::mutex mutex_;
    std::string last_;
};

// The usual name of the library of a runtime, `tensorrt-rtx` or `tensorrt`.
std::string TensorRtLibrary(const std::string& runtime);

// Loads the decode of `export/plugin` into TensorRT, for engines that were exported with it.
void LoadTensorRtPlugin(const std::string& library, const std::filesystem::path& plugin);

// Starts TensorRT; null where it refuses. `log` must outlive the result.
std::unique_ptr<nvinfer1::IRuntime> MakeTensorRtRuntime(const std::string& library, TensorRtLog& log);

}  // namespace htr

// The headers must be of the library's own major version.

#include "tensorrt_runtime.h"

#include "htr/htr.h"
#include "shared_library.h"

namespace htr {
namespace {

constexpr char kRtxLibrary[] = "libtensorrt_rtx.so.1";
constexpr char kPlugin[] = "CtcGreedyDecode";  // as export/plugin/ctc_plugin.cpp names it
constexpr char kPluginVersion[] = "1";
constexpr char kPluginNamespace[] = "htrcompress";

}  // namespace

void TensorRtLog::log(Severity severity, const char* message) noexcept {
    if (severity <= Severity::kERROR) {
        try {
            const std::lock_guard<std::mutex> lock(mutex_);
            last_ = message;
        } catch (const std::exception&) {  // without memory the sentence gives no reason
        }
    }
}

std::string TensorRtLog::Reason() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return last_.empty() ? "no reason given" : last_.substr(0, last_.find('\n'));
}

std::string TensorRtLibrary(const std::string& runtime) {
    return runtime == "tensorrt-rtx" ? kRtxLibrary : "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
}

void LoadTensorRtPlugin(const std::string& library, const std::filesystem::path& plugin) {
    void* function = LoadFunction({library}, "getPluginRegistry", "TensorRT");
    nvinfer1::IPluginRegistry* registry = reinterpret_cast<decltype(&getPluginRegistry)>(function)();
    const auto known = [&] { return registry->getCreator(kPlugin, kPluginVersion, kPluginNamespace) != nullptr; };
    if (!known()) {
        registry->loadLibrary(plugin.c_str());
    }
    if (!known()) {
        throw Error("TensorRT cannot load the plugin " + plugin.string() + ": build it with this TensorRT's headers");
    }
}

std::unique_ptr<nvinfer1::IRuntime> MakeTensorRtRuntime(const std::string& library, TensorRtLog& log) {
    void* function = LoadFunction({library}, "createInferRuntime_INTERNAL", "TensorRT");
    const auto create = reinterpret_cast<decltype(&createInferRuntime_INTERNAL)>(function);
    return std::unique_ptr<nvinfer1::IRuntime>(
        static_cast<nvinfer1::IRuntime*>(create(&log, NV_TENSORRT_VERSION)));
}

}  // namespace htr

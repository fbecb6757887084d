// The table of back ends: the suffix of a model's file to what opens it.

#include "backend.h"

#include <system_error>

#ifdef HTR_ONNXRUNTIME
#include "onnxruntime_backend.h"
#endif
#ifdef HTR_TENSORRT
#include "tensorrt_backend.h"
#endif

namespace htr {

std::unique_ptr<Backend> Backend::Create(const std::filesystem::path& model, const Options& options) {
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
        return OnnxRuntimeBackend::Create(model, options);
#else
        throw Error("this library was built without ONNX Runtime and cannot open " + name +
                    ": build it with ONNXRUNTIME_ROOT");
#endif
    }
    if (model.extension() == ".engine") {
#ifdef HTR_TENSORRT
        return TensorRtBackend::Create(model, options);
#else
        throw Error("this library was built without TensorRT and cannot open " + name +
                    ": build it with TENSORRT_ROOT");
#endif
    }
    throw Error(name + " is not an exported model: give an .onnx or .engine file");
}

}  // namespace htr

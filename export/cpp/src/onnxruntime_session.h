// A session of ONNX Runtime on the CPU through its C API, which is loaded when the first session is opened.

#pragma once

#include <onnxruntime_c_api.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend.h"

namespace htr {

// An object of the runtime, released with it.
template <class T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

// What a graph says of one of its inputs or outputs; -1 is a size that is free.
struct TensorInfo {
    std::string name;
    ONNXTensorElementDataType type;
    std::vector<std::int64_t> shape;

    bool operator==(const TensorInfo& other) const {
        return name == other.name && type == other.type && shape == other.shape;
    }
};

class OnnxRuntimeSession {
   public:
    // `name` names the model in errors, `model` is its file's bytes, `runtime` the library or empty.
    OnnxRuntimeSession(const std::string& name, const std::string& model, const std::string& runtime, int threads);

    std::optional<std::string> FindMetadata(const std::string& key) const;
    std::vector<TensorInfo> Inputs() const { return Tensors(true); }
    std::vector<TensorInfo> Outputs() const { return Tensors(false); }

    // Runs a batch, and gives the named outputs. Several threads may call this at once.
    std::vector<Owned<OrtValue>> Run(const Batch& batch, const std::vector<const char*>& outputs) const;

    // A copy of a tensor, whose type the caller knows.
    template <class T>
    std::vector<T> Copy(OrtValue* value) const {
        const T* values = static_cast<const T*>(Data(value));
        return {values, values + Count(value)};
    }

   private:
    static const OrtApi* Load(const std::string& runtime);
    void Check(OrtStatus* status) const;
    std::string TakeText(char* text) const;
    std::vector<TensorInfo> Tensors(bool inputs) const;
    std::vector<std::int64_t> Shape(const OrtTensorTypeAndShapeInfo* info) const;
    Owned<OrtValue> Wrap(const void* values, std::size_t bytes, const std::vector<std::int64_t>& shape,
                         ONNXTensorElementDataType type) const;
    const void* Data(OrtValue* value) const;
    std::size_t Count(OrtValue* value) const;

    std::string name_;
    const OrtApi* api_;
    Owned<OrtEnv> env_;
    Owned<OrtSession> session_;
    OrtAllocator* allocator_ = nullptr;  // the runtime's own
};

}  // namespace htr

// Any library of version 1.13 or later will do, whatever the header's version, because only functions that are older
// than that are used.

#include "onnxruntime_session.h"

#include "shared_library.h"

namespace htr {
namespace {

constexpr std::uint32_t kApi = 13;
static_assert(ORT_API_VERSION >= kApi, "onnxruntime_c_api.h is too old: take it from ONNX Runtime 1.13 or later");
constexpr const char* kInputs[] = {"pixels", "widths"};

}  // namespace

OnnxRuntimeSession::OnnxRuntimeSession(const std::string& name, const std::string& model, const std::string& runtime,
                                       int threads)
    : name_(name), api_(Load(runtime)), env_(nullptr, api_->ReleaseEnv), session_(nullptr, api_->ReleaseSession) {
    OrtEnv* env = nullptr;
    Check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "htr", &env));
    env_.reset(env);
    OrtSessionOptions* raw = nullptr;
    Check(api_->CreateSessionOptions(&raw));
    const Owned<OrtSessionOptions> options(raw, api_->ReleaseSessionOptions);
    Check(api_->SetIntraOpNumThreads(raw, threads));
    // A thread that waits by spinning takes the core from those that compute.
    Check(api_->AddSessionConfigEntry(raw, "session.intra_op.allow_spinning", "0"));
    // Its kernel for the two in one takes six times as long as either.
    Check(api_->AddSessionConfigEntry(raw, "optimization.disable_specified_optimizers", "SkipLayerNormFusion"));
    OrtSession* session = nullptr;
    Check(api_->CreateSessionFromArray(env, model.data(), model.size(), raw, &session));
    session_.reset(session);
    Check(api_->GetAllocatorWithDefaultOptions(&allocator_));
}

const OrtApi* OnnxRuntimeSession::Load(const std::string& runtime) {
    std::vector<std::string> names{runtime};
    if (runtime.empty()) {
        names = {"libonnxruntime.so.1", "libonnxruntime.so"};
    }
    void* function = LoadFunction(names, "OrtGetApiBase", "ONNX Runtime");
    const OrtApi* api = reinterpret_cast<decltype(&OrtGetApiBase)>(function)()->GetApi(kApi);
    if (api == nullptr) {
        throw Error("this ONNX Runtime is older than 1." + std::to_string(kApi) + ": install a later one");
    }
    return api;
}

// Turns the runtime's failure into an error.
void OnnxRuntimeSession::Check(OrtStatus* raw) const {
    if (raw == nullptr) {
        return;
    }
    const Owned<OrtStatus> status(raw, api_->ReleaseStatus);
    const std::string message = api_->GetErrorMessage(raw);
    throw Error("ONNX Runtime refuses " + name_ + ": " + message.substr(0, message.find('\n')));
}

// Copies a text that the runtime allocated, and frees it.
std::string OnnxRuntimeSession::TakeText(char* text) const {
    std::string copy = text;
    Check(api_->AllocatorFree(allocator_, text));
    return copy;
}

std::optional<std::string> OnnxRuntimeSession::FindMetadata(const std::string& key) const {
    OrtModelMetadata* raw = nullptr;
    Check(api_->SessionGetModelMetadata(session_.get(), &raw));
    const Owned<OrtModelMetadata> metadata(raw, api_->ReleaseModelMetadata);
    char* text = nullptr;
    Check(api_->ModelMetadataLookupCustomMetadataMap(raw, allocator_, key.c_str(), &text));
    return text == nullptr ? std::nullopt : std::make_optional(TakeText(text));
}

std::vector<TensorInfo> OnnxRuntimeSession::Tensors(bool inputs) const {
    std::size_t count = 0;
    const auto get_name = inputs ? api_->SessionGetInputName : api_->SessionGetOutputName;
    const auto get_type = inputs ? api_->SessionGetInputTypeInfo : api_->SessionGetOutputTypeInfo;
    Check((inputs ? api_->SessionGetInputCount : api_->SessionGetOutputCount)(session_.get(), &count));
    std::vector<TensorInfo> result;
    for (std::size_t i = 0; i < count; ++i) {
        char* name = nullptr;
        Check(get_name(session_.get(), i, allocator_, &name));
        OrtTypeInfo* raw = nullptr;
        Check(get_type(session_.get(), i, &raw));
        const Owned<OrtTypeInfo> info(raw, api_->ReleaseTypeInfo);
        const OrtTensorTypeAndShapeInfo* shape = nullptr;
        Check(api_->CastTypeInfoToTensorInfo(raw, &shape));
        result.push_back({TakeText(name), ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, {}});
        if (shape != nullptr) {  // null for what is not a tensor
            Check(api_->GetTensorElementType(shape, &result.back().type));
            result.back().shape = Shape(shape);
        }
    }
    return result;
}

std::vector<std::int64_t> OnnxRuntimeSession::Shape(const OrtTensorTypeAndShapeInfo* info) const {
    std::size_t rank = 0;
    Check(api_->GetDimensionsCount(info, &rank));
    std::vector<std::int64_t> shape(rank);
    Check(api_->GetDimensions(info, shape.data(), rank));
    return shape;
}

std::vector<Owned<OrtValue>> OnnxRuntimeSession::Run(const Batch& batch,
                                                     const std::vector<const char*>& outputs) const {
    const auto lines = std::int64_t(batch.widths.size());
    const auto pixels = Wrap(batch.pixels.data(), batch.pixels.size(), {lines, 1, batch.height, batch.width},
                             ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
    const auto widths = Wrap(batch.widths.data(), batch.widths.size() * sizeof batch.widths[0], {lines},
                             ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
    const OrtValue* inputs[] = {pixels.get(), widths.get()};
    std::vector<OrtValue*> raw(outputs.size(), nullptr);
    OrtStatus* status =
        api_->Run(session_.get(), nullptr, kInputs, inputs, 2, outputs.data(), outputs.size(), raw.data());
    std::vector<Owned<OrtValue>> values;
    for (OrtValue* value : raw) {
        values.emplace_back(value, api_->ReleaseValue);
    }
    Check(status);
    return values;
}

// A tensor over the caller's values, which must outlive it.
Owned<OrtValue> OnnxRuntimeSession::Wrap(const void* values, std::size_t bytes, const std::vector<std::int64_t>& shape,
                                         ONNXTensorElementDataType type) const {
    OrtMemoryInfo* memory = nullptr;
    Check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    const Owned<OrtMemoryInfo> owned(memory, api_->ReleaseMemoryInfo);
    OrtValue* value = nullptr;
    Check(api_->CreateTensorWithDataAsOrtValue(memory, const_cast<void*>(values), bytes, shape.data(), shape.size(),
                                               type, &value));
    return {value, api_->ReleaseValue};
}

const void* OnnxRuntimeSession::Data(OrtValue* value) const {
    void* data = nullptr;
    Check(api_->GetTensorMutableData(value, &data));
    return data;
}

std::size_t OnnxRuntimeSession::Count(OrtValue* value) const {
    OrtTensorTypeAndShapeInfo* raw = nullptr;
    Check(api_->GetTensorTypeAndShape(value, &raw));
    const Owned<OrtTensorTypeAndShapeInfo> info(raw, api_->ReleaseTensorTypeAndShapeInfo);
    std::size_t count = 1;
    for (const std::int64_t size : Shape(raw)) {
        count *= std::size_t(size);
    }
    return count;
}

}  // namespace htr

// An exported .onnx model run by ONNX Runtime on the CPU, through its C API.
//
// Compiled where the header onnxruntime_c_api.h is given (ONNXRUNTIME_ROOT); any library of version 1.13 or later
// will do, whichever the header's version is, because only functions that are older than that are used.

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <thread>

#include "backend.h"
#include "card.h"
#include "document.h"
#include "library.h"

namespace htr {
namespace {

constexpr std::uint32_t kApi = 13;
static_assert(ORT_API_VERSION >= kApi, "onnxruntime_c_api.h is too old: take it from ONNX Runtime 1.13 or later");
constexpr char kCardKey[] = "htrcompress";
constexpr int kLinesAThread = 8;  // of more lines, a layer's result leaves the caches
constexpr const char* kInputs[] = {"pixels", "widths"};
constexpr const char* kOutputs[] = {"labels", "lengths", "scores"};

// An object of the runtime, released with it.
template <class T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

// What a graph says of one of its inputs or outputs; -1 is a size that is free.
struct Tensor {
    std::string name;
    ONNXTensorElementDataType type;
    std::vector<std::int64_t> shape;

    bool operator==(const Tensor& other) const {
        return name == other.name && type == other.type && shape == other.shape;
    }
};

class OnnxRuntimeBackend final : public Backend {
   public:
    OnnxRuntimeBackend(std::string name, std::string model, const Options& options)
        : name_(std::move(name)), model_(std::move(model)), options_(options), api_(load(options.runtime)) {
        OrtEnv* env = nullptr;
        check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "htr", &env));
        env_.reset(env);
        OrtSessionOptions* raw = nullptr;
        check(api_->CreateSessionOptions(&raw));
        const Owned<OrtSessionOptions> session_options(raw, api_->ReleaseSessionOptions);
        check(api_->SetIntraOpNumThreads(raw, options.threads));
        // Its kernel for the two in one takes six times as long as either.
        check(api_->AddSessionConfigEntry(raw, "optimization.disable_specified_optimizers", "SkipLayerNormFusion"));
        OrtSession* session = nullptr;
        check(api_->CreateSessionFromArray(env, model_.data(), model_.size(), raw, &session));
        session_.reset(session);
        check(api_->GetAllocatorWithDefaultOptions(&allocator_));
        card = stored_card();
        lanes = std::max(1, options.threads > 0 ? options.threads : int(std::thread::hardware_concurrency()));
        max_batch = kLinesAThread * lanes;
        require_fit();
    }

    // A session of one thread, opened when it is first asked for.
    Backend& lane() override {
        if (lanes > 1 && lane_ == nullptr) {
            Options one = options_;
            one.threads = 1;
            lane_ = std::make_unique<OnnxRuntimeBackend>(name_, model_, one);
        }
        return lane_ == nullptr ? *this : *lane_;
    }

    Decoded run(const Batch& batch) override {
        const std::int64_t lines = std::int64_t(batch.widths.size());
        const std::int64_t pixel_shape[] = {lines, 1, batch.height, batch.width};
        const std::int64_t width_shape[] = {lines};
        const auto pixels = input(batch.pixels, pixel_shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
        const auto widths = input(batch.widths, width_shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32);
        const OrtValue* inputs[] = {pixels.get(), widths.get()};
        OrtValue* outputs[] = {nullptr, nullptr, nullptr};
        OrtStatus* status = api_->Run(session_.get(), nullptr, kInputs, inputs, 2, kOutputs, 3, outputs);
        const Owned<OrtValue> labels(outputs[0], api_->ReleaseValue), lengths(outputs[1], api_->ReleaseValue),
            scores(outputs[2], api_->ReleaseValue);
        check(status);
        Decoded decoded{output<std::int32_t>(labels.get()), output<std::int32_t>(lengths.get()),
                        output<float>(scores.get())};
        if (decoded.lengths.size() != batch.widths.size() || decoded.scores.size() != batch.widths.size() ||
            decoded.labels.size() % batch.widths.size() != 0) {
            throw Error("the graph in " + name_ + " gives results of the wrong shape: export the model again");
        }
        return decoded;
    }

   private:
    static const OrtApi* load(const std::string& runtime) {
        std::vector<std::string> names{runtime};
        if (runtime.empty()) {
            names = {"libonnxruntime.so.1", "libonnxruntime.so"};
        }
        void* function = load_function(names, "OrtGetApiBase", "ONNX Runtime");
        const OrtApi* api = reinterpret_cast<decltype(&OrtGetApiBase)>(function)()->GetApi(kApi);
        if (api == nullptr) {
            throw Error("this ONNX Runtime is older than 1." + std::to_string(kApi) + ": install a later one");
        }
        return api;
    }

    // Turns the runtime's failure into an error.
    void check(OrtStatus* raw) const {
        if (raw == nullptr) {
            return;
        }
        const Owned<OrtStatus> status(raw, api_->ReleaseStatus);
        const std::string message = api_->GetErrorMessage(raw);
        throw Error("ONNX Runtime refuses " + name_ + ": " + message.substr(0, message.find('\n')));
    }

    Card stored_card() const {
        OrtModelMetadata* raw = nullptr;
        check(api_->SessionGetModelMetadata(session_.get(), &raw));
        const Owned<OrtModelMetadata> metadata(raw, api_->ReleaseModelMetadata);
        char* text = nullptr;
        check(api_->ModelMetadataLookupCustomMetadataMap(raw, allocator_, kCardKey, &text));
        if (text == nullptr) {
            throw Error(name_ + " carries no htrcompress card: export the model with htrcompress");
        }
        return read_card(json::parse(owned_text(text), "the card of " + name_), name_);
    }

    // Copies a text that the runtime allocated, and frees it.
    std::string owned_text(char* text) const {
        std::string copy = text;
        check(api_->AllocatorFree(allocator_, text));
        return copy;
    }

    // Refuses a graph that does not take and give what the card promises; it may give logits besides.
    void require_fit() const {
        const std::vector<Tensor> inputs = tensors(true), outputs = tensors(false);
        const Tensor expected[] = {{"pixels", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, {-1, 1, card.height, -1}},
                                   {"widths", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1}},
                                   {"labels", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1, -1}},
                                   {"lengths", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, {-1}},
                                   {"scores", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, {-1}}};
        const auto among = [](const std::vector<Tensor>& tensors) {
            return [&](const Tensor& tensor) { return std::count(tensors.begin(), tensors.end(), tensor) == 1; };
        };
        const bool fits = inputs.size() == 2 && std::all_of(expected, expected + 2, among(inputs)) &&
                          std::all_of(expected + 2, expected + 5, among(outputs));
        const auto gives = [&](const char* name) {
            return std::any_of(outputs.begin(), outputs.end(), [&](const Tensor& tensor) { return tensor.name == name; });
        };
        if (gives("logits") && !gives("labels")) {
            throw Error(name_ + " gives logits and no labels: export the model without --decode none");
        }
        if (!fits) {
            throw Error("the graph in " + name_ + " does not fit its card: export the model again");
        }
    }

    std::vector<Tensor> tensors(bool inputs) const {
        std::size_t count = 0;
        const auto get_name = inputs ? api_->SessionGetInputName : api_->SessionGetOutputName;
        const auto get_type = inputs ? api_->SessionGetInputTypeInfo : api_->SessionGetOutputTypeInfo;
        check((inputs ? api_->SessionGetInputCount : api_->SessionGetOutputCount)(session_.get(), &count));
        std::vector<Tensor> result;
        for (std::size_t i = 0; i < count; ++i) {
            char* name = nullptr;
            check(get_name(session_.get(), i, allocator_, &name));
            OrtTypeInfo* raw = nullptr;
            check(get_type(session_.get(), i, &raw));
            const Owned<OrtTypeInfo> info(raw, api_->ReleaseTypeInfo);
            const OrtTensorTypeAndShapeInfo* shape = nullptr;
            check(api_->CastTypeInfoToTensorInfo(raw, &shape));
            result.push_back({owned_text(name), ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, {}});
            if (shape != nullptr) {  // it is null for what is no tensor
                check(api_->GetTensorElementType(shape, &result.back().type));
                result.back().shape = dimensions(shape);
            }
        }
        return result;
    }

    std::vector<std::int64_t> dimensions(const OrtTensorTypeAndShapeInfo* info) const {
        std::size_t rank = 0;
        check(api_->GetDimensionsCount(info, &rank));
        std::vector<std::int64_t> shape(rank);
        check(api_->GetDimensions(info, shape.data(), rank));
        return shape;
    }

    // A tensor over the caller's values, which must outlive it.
    template <class T>
    Owned<OrtValue> input(const std::vector<T>& values, const std::int64_t* shape, std::size_t rank,
                          ONNXTensorElementDataType type) const {
        OrtMemoryInfo* memory = nullptr;
        check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
        const Owned<OrtMemoryInfo> owned(memory, api_->ReleaseMemoryInfo);
        OrtValue* value = nullptr;
        check(api_->CreateTensorWithDataAsOrtValue(memory, const_cast<T*>(values.data()), values.size() * sizeof(T),
                                                   shape, rank, type, &value));
        return {value, api_->ReleaseValue};
    }

    // A copy of a tensor whose type `require_fit` has checked.
    template <class T>
    std::vector<T> output(OrtValue* value) const {
        OrtTensorTypeAndShapeInfo* raw = nullptr;
        check(api_->GetTensorTypeAndShape(value, &raw));
        const Owned<OrtTensorTypeAndShapeInfo> info(raw, api_->ReleaseTensorTypeAndShapeInfo);
        std::size_t count = 1;
        for (const std::int64_t size : dimensions(raw)) {
            count *= std::size_t(size);
        }
        void* data = nullptr;
        check(api_->GetTensorMutableData(value, &data));
        const T* values = static_cast<const T*>(data);
        return {values, values + count};
    }

    std::string name_;
    std::string model_;  // the file's bytes
    Options options_;
    const OrtApi* api_;
    Owned<OrtEnv> env_{nullptr, api_->ReleaseEnv};
    Owned<OrtSession> session_{nullptr, api_->ReleaseSession};
    OrtAllocator* allocator_ = nullptr;  // the runtime's own
    std::unique_ptr<Backend> lane_;
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const std::filesystem::path& model, const Options& options) {
    std::string bytes = read_file(model, "give a file that you may read");
    return std::make_unique<OnnxRuntimeBackend>(model.string(), std::move(bytes), options);
}

}  // namespace htr

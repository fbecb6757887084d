// The CTC kernel as a TensorRT plugin: an ONNX node becomes one kernel instead of about forty layers.
//
//   node       CtcGreedyDecode, attributes plugin_version="1", plugin_namespace="htrcompress"
//   inputs     logits FP16 or FP32 (B, T, C), frames int32 (B)
//   outputs    labels int32 (B, T) padded with -1, lengths int32 (B), scores float32 (B)
//
// Built by CMake where TENSORRT_ROOT is given. Loading the library is enough: TensorRT calls `getCreators`. A
// program that runs an engine with this node must load the library before it deserialises the engine.

#include <NvInferRuntime.h>

#include <new>

#include "ctc_decode.h"

namespace {

using namespace nvinfer1;

constexpr char kName[] = "CtcGreedyDecode";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "htrcompress";
constexpr int kInputs = 2;
constexpr int kOutputs = 3;
constexpr int kSuccess = 0;
constexpr int kFailure = -1;
const PluginFieldCollection kNoFields{};

class CtcGreedyDecode final : public IPluginV3,
                              public IPluginV3OneCore,
                              public IPluginV3OneBuild,
                              public IPluginV3OneRuntime {
   public:
    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
            case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
            case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
            case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }

    IPluginV3* clone() noexcept override { return new (std::nothrow) CtcGreedyDecode; }

    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }

    int32_t getNbOutputs() const noexcept override { return kOutputs; }

    int32_t getOutputDataTypes(DataType* types, int32_t outputs, DataType const*,
                               int32_t inputs) const noexcept override {
        if (inputs != kInputs || outputs != kOutputs) {
            return kFailure;
        }
        types[0] = DataType::kINT32;
        types[1] = DataType::kINT32;
        types[2] = DataType::kFLOAT;
        return kSuccess;
    }

    int32_t getOutputShapes(DimsExprs const* inputs, int32_t count, DimsExprs const*, int32_t, DimsExprs* outputs,
                            int32_t outputCount, IExprBuilder&) noexcept override {
        if (count != kInputs || outputCount != kOutputs || inputs[0].nbDims != 3 || inputs[1].nbDims != 1) {
            return kFailure;
        }
        outputs[0].nbDims = 2;
        outputs[0].d[0] = inputs[0].d[0];
        outputs[0].d[1] = inputs[0].d[1];
        outputs[1].nbDims = outputs[2].nbDims = 1;
        outputs[1].d[0] = outputs[2].d[0] = inputs[0].d[0];
        return kSuccess;
    }

    bool supportsFormatCombination(int32_t place, DynamicPluginTensorDesc const* tensors, int32_t,
                                   int32_t) noexcept override {
        const PluginTensorDesc& tensor = tensors[place].desc;
        if (tensor.format != TensorFormat::kLINEAR) {
            return false;
        }
        switch (place) {
            case 0: return tensor.type == DataType::kFLOAT || tensor.type == DataType::kHALF;
            case 4: return tensor.type == DataType::kFLOAT;
            default: return tensor.type == DataType::kINT32;
        }
    }

    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*,
                            int32_t) noexcept override {
        return kSuccess;
    }

    int32_t onShapeChange(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) noexcept override {
        return kSuccess;
    }

    int32_t enqueue(PluginTensorDesc const* inputs, PluginTensorDesc const*, void const* const* from, void* const* to,
                    void*, cudaStream_t stream) noexcept override {
        const Dims& shape = inputs[0].dims;
        const cudaError_t status = ctc_decode_launch(
            from[0], inputs[0].type == DataType::kHALF, static_cast<const int32_t*>(from[1]), int(shape.d[0]),
            int(shape.d[1]), int(shape.d[2]), static_cast<int32_t*>(to[0]), static_cast<int32_t*>(to[1]),
            static_cast<float*>(to[2]), stream);
        return status == cudaSuccess ? kSuccess : kFailure;
    }

    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

    PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &kNoFields; }
};

class CtcGreedyDecodeCreator final : public IPluginCreatorV3One {
   public:
    IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const*, TensorRTPhase) noexcept override {
        return new (std::nothrow) CtcGreedyDecode;
    }

    PluginFieldCollection const* getFieldNames() noexcept override { return &kNoFields; }
    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return kNamespace; }
};

}  // namespace

// The two functions that TensorRT looks for in a plugin library. This one reports failures by its return values
// only, so it has no use for a logger.
extern "C" __attribute__((visibility("default"))) void setLoggerFinder(ILoggerFinder*) {}

extern "C" __attribute__((visibility("default"))) IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static CtcGreedyDecodeCreator creator;
    static IPluginCreatorInterface* const creators[] = {&creator};
    count = 1;
    return creators;
}

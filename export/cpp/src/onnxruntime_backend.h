// An exported .onnx model run by ONNX Runtime on the CPU.

#pragma once

#include "backend.h"
#include "onnxruntime_session.h"

namespace htr {

class OnnxRuntimeBackend final : public Backend {
   public:
    static std::unique_ptr<Backend> Create(const std::filesystem::path& model, const Options& options);

    OnnxRuntimeBackend(std::string name, std::string model, const Options& options);

    Output Run(const Batch& batch, bool logits) override;

    // With a session of one thread, opened when it is first asked for.
    Backend& Stream() override;

   private:
    void RequireFit() const;
    void RequireLogits(const std::string& who) const;

    std::string name_;
    std::string model_;  // the file's bytes
    Options options_;
    OnnxRuntimeSession session_;
    std::unique_ptr<Backend> stream_;
};

}  // namespace htr

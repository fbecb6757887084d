// An engine and the document beside it, `model.engine.meta`: its card, how it was built, and its SHA-256.

#pragma once

#include <filesystem>
#include <string>

#include "htr/htr.h"

namespace htr {

struct EngineDocument {
    Card card;
    std::string runtime;           // "tensorrt-rtx" or "tensorrt"
    std::string version;           // of the runtime that built the engine, the only one that can run it
    std::string sha256;            // of the engine
    std::filesystem::path plugin;  // the library beside the engine that decodes; empty where standard operators do
};

// Reads the document beside `engine`. A plugin that it names exists, and its path has a folder, so that dlopen does not
// search for it elsewhere.
EngineDocument ReadEngineDocument(const std::filesystem::path& engine);

// The bytes of an engine, compared with the SHA-256 in its document.
std::string ReadEngine(const std::filesystem::path& engine, const EngineDocument& document);

}  // namespace htr

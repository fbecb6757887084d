// The `.json` beside an engine: its card, and how the engine was built.

#pragma once

#include <filesystem>
#include <string>

#include "htr/htr.h"

namespace htr {

struct EngineDocument {
    Card card;
    std::string runtime;           // "tensorrt-rtx" or "tensorrt"
    std::string version;           // of the runtime that built the engine, the only one that it runs on
    std::filesystem::path plugin;  // the library beside the engine that decodes; empty where standard operators do
};

// Reads what stands beside `engine`. A plugin is there and a file, and its path is none that dlopen would search for.
EngineDocument read_engine_document(const std::filesystem::path& engine);

// A whole file; `advice` is what to do where it cannot be read.
std::string read_file(const std::filesystem::path& path, const std::string& advice);

}  // namespace htr

// A plugin is code: whatever a document says, a library is loaded from beside the engine only.

#include "engine_file.h"

#include <system_error>

#include "file.h"
#include "metadata.h"
#include "sha256.h"

namespace htr {
namespace {

constexpr std::uintmax_t kMaxDocument = std::uintmax_t(32) << 20;
constexpr std::uintmax_t kMaxEngine = std::uintmax_t(4) << 30;

std::filesystem::path FindPlugin(const std::filesystem::path& engine, const std::string& name,
                                 const std::string& where) {
    if (name.find('/') != name.npos) {
        throw Error(where + " names a plugin that is not beside the engine: export the model again");
    }
    const std::filesystem::path folder = engine.parent_path();
    const std::filesystem::path path = (folder.empty() ? "." : folder) / name;
    std::error_code none;
    if (!std::filesystem::is_regular_file(path, none)) {
        throw Error("the engine decodes with the plugin " + path.string() + ", which is missing: copy it there");
    }
    return path;
}

}  // namespace

EngineDocument ReadEngineDocument(const std::filesystem::path& engine) {
    const std::string where = engine.string() + ".meta";
    const Metadata entries = ParseMetadata(
        ReadFile(where, kMaxDocument, "it is written beside the engine; copy both, or export the model again"), where);
    const auto find = [&](const std::string& key) {
        const auto found = entries.find(key);
        return found == entries.end() ? std::nullopt : std::make_optional(found->second);
    };
    const auto require = [&](const char* key) {
        const std::optional<std::string> value = find(key);
        if (!value || value->empty()) {
            throw Error(where + " is damaged: " + key + " is missing; export the model again");
        }
        return *value;
    };
    EngineDocument document{ReadCard(find, where), require("engine.runtime"), require("engine.version"),
                            require("engine.sha256"), {}};
    if (document.runtime != "tensorrt-rtx" && document.runtime != "tensorrt") {
        throw Error(where + " names a runtime that is not tensorrt-rtx or tensorrt: export the model again");
    }
    const std::string plugin = find("engine.plugin").value_or("");
    if (!plugin.empty()) {
        document.plugin = FindPlugin(engine, plugin, where);
    }
    return document;
}

std::string ReadEngine(const std::filesystem::path& engine, const EngineDocument& document) {
    std::string plan = ReadFile(engine, kMaxEngine, "export the model again");
    if (Sha256(plan) != document.sha256) {
        throw Error(engine.string() + " is damaged, or not the engine that the .meta beside it describes: copy both");
    }
    return plan;
}

}  // namespace htr

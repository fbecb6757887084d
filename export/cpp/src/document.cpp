// What a document says of a plugin is not trusted: a library is loaded from beside the engine only.

#include "document.h"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <system_error>

#include "card.h"
#include "json.h"

namespace htr {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t(4) << 30;

const std::string& text_entry(const json::Value& built, const char* name, const std::string& where) {
    const json::Value* value = built.find(name);
    if (value == nullptr || value->kind != json::Value::Kind::text) {
        throw Error(where + " is damaged: its entry '" + name + "' is missing or no text: export the model again");
    }
    return value->text;
}

std::filesystem::path find_plugin(const std::filesystem::path& engine, const std::string& name,
                                  const std::string& where) {
    if (name.find('/') != name.npos || name.find('\0') != name.npos) {
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

std::string read_file(const std::filesystem::path& path, const std::string& advice) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    std::ifstream file(path, std::ios::binary);
    if (error || !file || bytes > kMaxFileBytes) {
        throw Error(path.string() + " is missing or cannot be read: " + advice);
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

EngineDocument read_engine_document(const std::filesystem::path& engine) {
    const std::string where = engine.string() + ".json";
    const json::Value root = json::parse(read_file(where, "it is written beside the engine; copy both"), where);
    const json::Value *card = root.find("card"), *built = root.find("engine");
    if (card == nullptr || built == nullptr) {
        throw Error(where + " belongs to no engine: export the model again");
    }
    EngineDocument document{read_card(*card, where), text_entry(*built, "runtime", where),
                            text_entry(*built, "version", where), {}};
    if (document.runtime != "tensorrt-rtx" && document.runtime != "tensorrt") {
        throw Error(where + " names '" + document.runtime + "' as its runtime, which is not known: export it again");
    }
    if (built->find("plugin") != nullptr && !text_entry(*built, "plugin", where).empty()) {
        document.plugin = find_plugin(engine, text_entry(*built, "plugin", where), where);
    }
    return document;
}

}  // namespace htr

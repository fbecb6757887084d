// The flat metadata of an exported model: the card as `htrcompress.height` and so on, in ONNX's own metadata and in the
// document beside an engine. Nothing in a file is trusted: what the library relies on later is checked here.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "htr/htr.h"

namespace htr {

using Metadata = std::map<std::string, std::string>;

// The entries of a document with one `key=value` a line; the first `=` separates. `where` names the document in an
// error. Refused: text that is not UTF-8, control characters, lines without a key, the same key twice.
Metadata ParseMetadata(const std::string& text, const std::string& where);

// Reads a card from entries that `find` looks up by their keys. `where` names the model in an error.
Card ReadCard(const std::function<std::optional<std::string>(const std::string& key)>& find, const std::string& where);

}  // namespace htr

// The card that every exported model carries.

#pragma once

#include "htr/htr.h"
#include "json.h"

namespace htr {

// Reads a card. `where` names the model in an error.
Card read_card(const json::Value& card, const std::string& where);

}  // namespace htr

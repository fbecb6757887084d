// The table of decoders.

#include "decoder.h"

#include "greedy_decoder.h"
#include "htr/htr.h"

namespace htr {

std::unique_ptr<Decoder> Decoder::Create(const std::string& name) {
    if (name.empty()) {
        return nullptr;
    }
    if (name == "greedy") {
        return std::make_unique<GreedyDecoder>();
    }
    throw Error("there is no decoder '" + name + "': choose greedy, or none for the decode inside the model");
}

}  // namespace htr

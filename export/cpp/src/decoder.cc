// The table of decoders.

#include "decoder.h"

#include "beam_decoder.h"
#include "greedy_decoder.h"

namespace htr {

std::string Decoder::NameOf(const Options& options) {
    if (!options.decoder.empty() && options.decoder != "greedy" && options.decoder != "beam") {
        throw Error("there is no decoder '" + options.decoder +
                    "': choose greedy or beam, or none for the decode inside the model");
    }
    if (options.decoder == "greedy" && !options.beam.lm.empty()) {
        throw Error("a language model is for another decoder than greedy: choose beam");
    }
    return options.decoder.empty() && !options.beam.lm.empty() ? "beam" : options.decoder;
}

std::unique_ptr<Decoder> Decoder::Create(const Options& options, const Card& card) {
    const std::string name = NameOf(options);
    if (name == "greedy") {
        return std::make_unique<GreedyDecoder>();
    }
    if (name == "beam") {
        return std::make_unique<BeamDecoder>(options.beam, card);
    }
    return nullptr;
}

}  // namespace htr

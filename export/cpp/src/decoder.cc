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
    const bool has_language = Language::IsGiven(options.beam);
    if (options.decoder == "greedy" && has_language) {
        throw Error("language models and lists of words are for another decoder than greedy: choose beam");
    }
    return options.decoder.empty() && has_language ? "beam" : options.decoder;
}

std::unique_ptr<Decoder> Decoder::Create(const Options& options, const Language& language) {
    const std::string name = NameOf(options);
    if (name == "greedy") {
        return std::make_unique<GreedyDecoder>();
    }
    if (name == "beam") {
        return std::make_unique<BeamDecoder>(options.beam, language);
    }
    return nullptr;
}

}  // namespace htr

#include "beam_decoder.h"

#include <cmath>
#include <limits>

namespace htr {
namespace {

constexpr int kLargestWidth = 1024;

void CheckCount(const char* name, int value) {
    if (value < 1 || value > kLargestWidth) {
        throw Error("the beam's " + std::string(name) + " must be from 1 to 1024, not " + std::to_string(value));
    }
}

}  // namespace

BeamDecoder::BeamDecoder(const BeamOptions& options, const Language& language) : language_(language) {
    CheckCount("width", options.width);
    CheckCount("candidates", options.candidates);
    if (!(options.blank > 0 && options.blank <= 1) || !(options.floor >= 0 && options.floor < 1)) {
        throw Error("the beam's blank must be above 0 and at most 1, and its floor from 0 to below 1");
    }
    const double infinity = std::numeric_limits<double>::infinity();
    const double margin = options.blank == 1 ? infinity : std::log(options.blank / (1 - options.blank));
    settings_ = {options.width, options.candidates, margin, options.floor, language.bonus()};
}

std::vector<Hypothesis> BeamDecoder::Decode(const Logits& logits, int n_best) const {
    PrefixSearch search(language_.scorers(), logits.classes, settings_);
    std::vector<Hypothesis> readings;
    try {
        for (FoundPrefix& found : search.Decode(logits.values, logits.frames, n_best)) {
            const double score = found.labels.empty() ? -std::numeric_limits<double>::infinity()
                                                      : found.score / double(found.labels.size());
            readings.push_back({std::move(found.labels), float(score)});
        }
    } catch (const NotNumbers&) {
        throw Error("the network's logits are not numbers: its file is damaged");
    }
    return readings;
}

}  // namespace htr

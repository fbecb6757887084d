#include "beam_decoder.h"

#include <cmath>
#include <limits>

namespace htr {
namespace {

constexpr int kLargestWidth = 1024;
constexpr double kDefaultWeight = 0.5;

void CheckCount(const char* name, int value) {
    if (value < 1 || value > kLargestWidth) {
        throw Error("the beam's " + std::string(name) + " must be from 1 to 1024, not " + std::to_string(value));
    }
}

// A number that is given, or tuned and kept in the language model, or the default.
double Chosen(const char* name, std::optional<double> given, const std::optional<NGramFile>& lm, double otherwise) {
    const double value = given ? *given : lm ? lm->Setting(name, otherwise) : otherwise;
    if (!std::isfinite(value)) {
        throw Error("the language model's " + std::string(name) + " must be a finite number");
    }
    return value;
}

}  // namespace

BeamDecoder::BeamDecoder(const BeamOptions& options, const Card& card) {
    CheckCount("width", options.width);
    CheckCount("candidates", options.candidates);
    if (!(options.blank > 0 && options.blank <= 1) || !(options.floor >= 0 && options.floor < 1)) {
        throw Error("the beam's blank must be above 0 and at most 1, and its floor from 0 to below 1");
    }
    if (options.lm.empty() && options.weight) {
        throw Error("the language model's weight does nothing without a language model: name one");
    }
    if (!options.lm.empty()) {
        lm_.emplace(options.lm);
        symbols_ = lm_->Symbols(card.charset);
    }
    weight_ = Chosen("weight", options.weight, lm_, kDefaultWeight);
    const double infinity = std::numeric_limits<double>::infinity();
    const double margin = options.blank == 1 ? infinity : std::log(options.blank / (1 - options.blank));
    settings_ = {options.width, options.candidates, margin, options.floor, Chosen("bonus", options.bonus, lm_, 0.0)};
}

std::vector<Hypothesis> BeamDecoder::Decode(const Logits& logits, int n_best) const {
    std::vector<ScorerView> scorers;
    if (lm_) {
        scorers.push_back(lm_->View(weight_, symbols_.data()));
    }
    PrefixSearch search(scorers, logits.classes, settings_);
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

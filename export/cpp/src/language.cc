#include "language.h"

#include <algorithm>
#include <cmath>

namespace htr {
namespace {

constexpr double kDefaultWeight = 0.5;
constexpr double kDefaultWordsBonus = 0.5;

// A number that is given, or tuned and kept in the language model, or the default.
double Chosen(const char* name, std::optional<double> given, const std::optional<NGramFile>& lm, double otherwise) {
    const double value = given ? *given : lm ? lm->Setting(name, otherwise) : otherwise;
    if (!std::isfinite(value)) {
        throw Error("the language model's " + std::string(name) + " must be a finite number");
    }
    return value;
}

}  // namespace

bool Language::IsGiven(const BeamOptions& options) {
    return !options.lm.empty() || !options.words.empty() || options.weight || options.bonus || options.words_bonus;
}

Language::Language(const BeamOptions& options, const Card& card) {
    if (options.lm.empty() && options.weight) {
        throw Error("the language model's weight does nothing without a language model: name one");
    }
    if (options.words.empty() && options.words_bonus) {
        throw Error("the bonus of words does nothing without a list of words: name one");
    }
    if (!options.lm.empty()) {
        lm_.emplace(options.lm);
        if (lm_->direction() != card.direction) {
            throw Error("the model reads lines of direction " + card.direction + ", and the language model " +
                        options.lm.string() + " is of direction " + lm_->direction() +
                        ": make one of such texts with python -m htrcompress.lm");
        }
        symbols_ = lm_->Symbols(card.charset);
        scorers_.push_back(lm_->View(Chosen("weight", options.weight, lm_, kDefaultWeight), symbols_.data()));
        for (const std::string& character : card.charset) {
            const auto& known = lm_->charset();
            if (std::find(known.begin(), known.end(), character) == known.end()) {
                unknown_ += (unknown_.empty() ? "" : " ") + character;
            }
        }
    }
    if (!options.words.empty()) {
        words_.emplace(options.words, Charset(card));
        scorers_.push_back(words_->View(Chosen("words_bonus", options.words_bonus, lm_, kDefaultWordsBonus)));
    }
    bonus_ = Chosen("bonus", options.bonus, lm_, 0.0);
}

}  // namespace htr

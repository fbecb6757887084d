// What a decoder knows about the language, as htrcompress/decoding/language.py: a language model and a list of words,
// followed side by side, and a bonus for every character.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ngram_file.h"
#include "words.h"

namespace htr {

class Language {
   public:
    // Whether the options say anything about the language.
    static bool IsGiven(const BeamOptions& options);

    // Opens the files that the options name, for a recogniser with this card.
    Language(const BeamOptions& options, const Card& card);

    // Views point into the arrays of this.
    Language(const Language&) = delete;
    Language& operator=(const Language&) = delete;

    const std::vector<ScorerView>& scorers() const { return scorers_; }
    double bonus() const { return bonus_; }

    // See NGramFile; empty without a language model.
    std::string calibration() const { return lm_ ? lm_->calibration() : ""; }

    // Characters of the recogniser that the language model lacks and scores as unknown, with spaces between them.
    const std::string& unknown() const { return unknown_; }

   private:
    std::optional<NGramFile> lm_;
    std::vector<std::uint32_t> symbols_;
    std::optional<WordList> words_;
    std::vector<ScorerView> scorers_;
    double bonus_ = 0;
    std::string unknown_;
};

}  // namespace htr

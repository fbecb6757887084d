// Lists of words as a soft bonus in the beam search, as htrcompress/decoding/words.py.

#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "charset.h"
#include "prefix_search.h"

namespace htr {

// The automaton of a list. While a text goes along a listed word, every character scores one, times the word's number;
// it is taken back as soon as the text leaves the list, and stays where the word ends before something that is no
// letter or digit.
class WordList {
   public:
    // Reads a text file with a word in each row, and after a tab, where it is wanted, a number. Words with characters
    // that the recogniser does not know are left out.
    WordList(const std::filesystem::path& path, const Charset& charset);

    // The automaton for a search with this bonus; it must not outlive this.
    ScorerView View(double bonus) const;

   private:
    std::vector<std::uint32_t> symbols_;
    std::vector<std::int32_t> backoff_state_;
    std::vector<float> backoff_;
    std::vector<std::int64_t> arc_start_;
    std::vector<std::uint32_t> arc_symbol_;
    std::vector<float> arc_score_;
    std::vector<std::int32_t> arc_next_;
};

}  // namespace htr

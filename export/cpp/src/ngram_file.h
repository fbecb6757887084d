// The file of a character language model (`.ngram`), as `python -m htrcompress.lm` writes it.

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "prefix_search.h"

namespace htr {

// A language model whose arrays are mapped into memory, not read, so that processes share it.
class NGramFile {
   public:
    // Refuses a file of another kind, one that is truncated, and one whose arrays point outside.
    explicit NGramFile(const std::filesystem::path& path);

    // The model's symbol for each label of a recogniser with these characters; characters that it lacks are unknown.
    std::vector<std::uint32_t> Symbols(const std::vector<std::string>& charset) const;

    // Its arrays, for a search with this weight; `symbols` must outlive the view, and so must this.
    ScorerView View(double weight, const std::uint32_t* symbols) const;

    // What the model was tuned to: `weight`, `bonus` or `words_bonus`, or the default where it was not tuned.
    double Setting(const std::string& name, double otherwise) const;

    // What makes probabilities of confidences with it; empty if it was not fitted.
    std::string calibration() const { return Entry("setting.calibration", ""); }

    // Of the lines whose texts it was made of, `ltr` or `rtl`.
    std::string direction() const { return Entry("direction", "ltr"); }

    const std::vector<std::string>& charset() const { return charset_; }

   private:
    struct Mapping;
    template <class Value>
    void Take(const char* name, const Value*& array, std::size_t& offset);
    bool Fits() const;
    bool Ends(std::int64_t states) const;
    std::string Entry(const std::string& key, const std::string& otherwise) const;

    std::string name_;
    std::shared_ptr<const Mapping> mapping_;
    std::vector<std::string> charset_;
    std::map<std::string, std::string> entries_;
    ScorerView view_{};
};

}  // namespace htr

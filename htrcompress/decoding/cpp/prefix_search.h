// CTC prefix beam search with a character n-gram, of one line: the search of ../search.py, to the last bit.
//
// Every sum and product is a double in the order of the Python source, and the exponential is written out, so both find
// the same prefixes with the same probabilities. Compile without contraction to fused operations (-ffp-contract=off) and
// without -ffast-math. The source needs the standard library alone; libhtr (export/cpp) and Python (c_api.cc) share it.

#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace htr {

constexpr int kMaxScorers = 8;

// A scorer (../language.py): the arrays of a compiled n-gram (../ngram.py), whose indices were checked when they were
// read, its weight, and its symbol for each label; that of the blank, label 0, is not read.
struct ScorerView {
    double weight;
    const std::uint32_t* symbols;
    std::int64_t begin;
    const std::int32_t* backoff_state;
    const float* backoff;
    const std::int64_t* arc_start;
    const std::uint32_t* arc_symbol;
    const float* arc_log_probability;
    const std::int32_t* arc_next;
};

// What a scorer gives to a symbol after a state, and the state behind it.
struct ScorerStep {
    float score;
    std::int32_t next;
};

// Backed off as in ../ngram.py: each state falls back to a shorter one, at most as often as histories are long.
ScorerStep FollowScorer(const ScorerView& scorer, std::int32_t state, std::uint32_t symbol);

// Symbols (../kneser_ney.py): of what a scorer lacks, of a line's end, and of the first character.
constexpr std::uint32_t kUnknown = 0, kEnd = 2, kSpecial = 3;

// What a search is told; see `Settings` in ../search.py, and `Language` for the bonus.
struct SearchSettings {
    std::int32_t width;
    std::int32_t candidates;
    double margin;
    double floor;
    double bonus;
};

// A prefix that was found.
struct FoundPrefix {
    std::vector<std::int32_t> labels;  // without blanks
    double score;                      // logarithm of its probability, language model and bonus included
};

// Logits that hold NaN, or whose largest value in a frame is infinite.
class NotNumbers : public std::domain_error {
   public:
    using std::domain_error::domain_error;
};

class PrefixSearch {
   public:
    // At most `kMaxScorers` scorers, whose arrays must outlive this; at least two classes.
    PrefixSearch(std::vector<ScorerView> scorers, int classes, const SearchSettings& settings);

    // The best prefixes of a line, at least one and at most `n_best`; `logits` is (frames, classes), row by row.
    std::vector<FoundPrefix> Decode(const float* logits, std::int64_t frames, int n_best);

   private:
    using States = std::array<std::int32_t, kMaxScorers>;
    struct Prefix {
        double blank, label, factor;
        std::uint64_t hash, parent;
        std::int32_t last;
        std::int64_t node;
        States states;
    };
    struct Growth {
        double factor;
        States states;
    };
    struct Choice {
        double total;
        std::int32_t place;
    };
    struct Cached {
        std::int64_t key = -1;
        ScorerStep step{};
    };
    struct Node {
        std::int64_t before;
        std::int32_t label;
    };

    bool IsSearched(const float* frame) const;
    void Normalise(const float* frame);
    void Choose();
    void Advance(bool closed);
    void Stay(bool closed);
    void Grow();
    void Merge(std::size_t longer);
    void Keep();
    Growth Follow(const States& states, std::int32_t label);
    double EndFactor(const States& states);
    std::vector<std::int32_t> Labels(std::int64_t node) const;

    const std::vector<ScorerView> scorers_;
    const int classes_;
    const SearchSettings settings_;

    std::vector<Prefix> beam_, next_;
    std::vector<Node> tree_;
    std::vector<double> probability_;
    std::vector<std::int32_t> chosen_;
    std::vector<double> value_;
    std::vector<double> total_, open_;  // of each prefix: all alignments, and those that end in a blank
    std::vector<double> grown_;
    std::vector<Growth> growths_;
    std::vector<Choice> choices_;
    std::vector<Cached> cache_;  // steps of the scorers that were looked up before
    std::int64_t scale_ = 0;
};

}  // namespace htr

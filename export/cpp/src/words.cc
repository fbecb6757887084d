// It is the automaton of Aho & Corasick (1975) over words: what a word's end leaves behind may be the beginning of
// another entry. Every score is computed as in Python, so that both find the same.

#include "words.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "unicode.h"
#include "word_file.h"

namespace htr {
namespace {

constexpr std::int32_t kOutside = 0;  // the state within a word that is not listed
constexpr std::int32_t kStart = 1;    // the state where a word may start
constexpr std::size_t kMostStates = 900'000;

using Spelling = std::vector<std::uint32_t>;

struct Arc {
    double score = 0;
    std::int32_t next = kOutside;
};

// A state: the beginning of some words.
struct Node {
    std::map<std::uint32_t, std::int32_t> children;
    std::int32_t fails_to = kOutside;  // the state of a shorter end of the text
    int depth = 0;
    double most = 0;  // the largest number of the words that begin so
    double own = 0;   // the number of the word that ends here; 0 if none does

    // What was scored on the way and is taken back if the text leaves the list.
    double AtStake() const { return depth * most; }
};

// The words in symbols as they stand on the page, without those that the recogniser cannot write.
std::map<Spelling, double> Spelled(const std::map<std::u32string, double>& words, const Charset& charset) {
    std::map<char32_t, std::uint32_t> symbols;
    for (const char32_t character : charset.characters()) {
        symbols.emplace(character, std::uint32_t(symbols.size()) + kSpecial);
    }
    std::map<Spelling, double> spelled;
    for (const auto& [word, number] : words) {
        Spelling spelling;
        const std::u32string page = charset.OnPage(word);
        for (const char32_t character : page) {
            const auto found = symbols.find(character);
            if (found == symbols.end()) {
                break;
            }
            spelling.push_back(found->second);
        }
        if (spelling.size() == page.size()) {
            spelled[spelling] = number;
        }
    }
    if (spelled.empty()) {
        throw Error("no word of the list can be read: all have characters that the recogniser does not know");
    }
    return spelled;
}

// The states, those of shorter beginnings first.
std::vector<Node> Tree(const std::map<Spelling, double>& spelled) {
    using Word = std::map<Spelling, double>::const_pointer;
    std::vector<Node> nodes(2);
    std::vector<std::pair<std::int32_t, Word>> level;  // words that go on, and the states that they have come to
    for (const auto& word : spelled) {
        level.push_back({kStart, &word});
    }
    for (std::size_t depth = 0; !level.empty(); ++depth) {
        std::vector<std::pair<std::int32_t, Word>> below;
        for (const auto& [state, word] : level) {
            if (word->first.size() == depth) {
                nodes[std::size_t(state)].own = word->second;
                continue;
            }
            const auto [child, is_new] =
                nodes[std::size_t(state)].children.emplace(word->first[depth], std::int32_t(nodes.size()));
            const std::int32_t next = child->second;
            if (is_new) {
                nodes.emplace_back();
                nodes.back().depth = int(depth) + 1;
            }
            nodes[std::size_t(next)].most = std::max(nodes[std::size_t(next)].most, word->second);
            below.push_back({next, word});
        }
        if (nodes.size() > kMostStates) {
            throw Error("the words of the list have more than " + std::to_string(kMostStates) +
                        " beginnings: keep the likely ones");
        }
        level = std::move(below);
    }
    return nodes;
}

// Compiles the states to arcs, those of shorter beginnings first.
class Compiler {
   public:
    Compiler(std::vector<Node> nodes, const Charset& charset) : nodes_(std::move(nodes)), between_{kEnd} {
        std::map<std::uint32_t, Arc> outside{{kUnknown, {}}, {kEnd, {}}};
        for (const char32_t character : charset.characters()) {
            const std::uint32_t symbol = std::uint32_t(outside.size()) - 2 + kSpecial;
            const bool letter = IsLetter(character);
            outside[symbol] = {0, letter ? kOutside : kStart};
            if (!letter) {
                between_.insert(symbol);
            }
        }
        arcs_.push_back(std::move(outside));
        for (std::size_t state = kStart; state < nodes_.size(); ++state) {
            Link(nodes_[state], std::int32_t(state));
            arcs_.push_back(Arcs(nodes_[state], std::int32_t(state)));
        }
    }

    const std::vector<Node>& nodes() const { return nodes_; }
    const std::vector<std::map<std::uint32_t, Arc>>& arcs() const { return arcs_; }

   private:
    // Tells the children of a state what they fall back to: the longest other beginning that the text ends with.
    void Link(const Node& node, std::int32_t state) {
        for (const auto& [symbol, child] : node.children) {
            std::int32_t shorter = state != kStart ? node.fails_to : kOutside;
            while (shorter > kStart && nodes_[std::size_t(shorter)].children.count(symbol) == 0) {
                shorter = nodes_[std::size_t(shorter)].fails_to;
            }
            const auto& others = nodes_[std::size_t(shorter)].children;
            const auto found = others.find(symbol);
            nodes_[std::size_t(child)].fails_to = found != others.end()     ? found->second
                                                  : between_.count(symbol) ? kStart
                                                                           : kOutside;
        }
    }

    std::map<std::uint32_t, Arc> Arcs(const Node& node, std::int32_t state) const {
        std::map<std::uint32_t, Arc> given;
        for (const auto& [symbol, child] : node.children) {
            given[symbol] = {nodes_[std::size_t(child)].AtStake() - node.AtStake(), child};
        }
        if (node.own > 0) {
            for (const std::uint32_t symbol : between_) {
                const auto found = given.find(symbol);
                const Arc arc = found != given.end() ? found->second : Follow(state, symbol);
                given[symbol] = {arc.score + node.depth * node.own, arc.next};
            }
        }
        return given;
    }

    // The arc of a symbol from a state that has no arcs yet.
    Arc Follow(std::int32_t state, std::uint32_t symbol) const {
        double score = 0;
        while (std::size_t(state) >= arcs_.size() || arcs_[std::size_t(state)].count(symbol) == 0) {
            const std::int32_t shorter = nodes_[std::size_t(state)].fails_to;
            score += nodes_[std::size_t(shorter)].AtStake() - nodes_[std::size_t(state)].AtStake();
            state = shorter;
        }
        const Arc& found = arcs_[std::size_t(state)].at(symbol);
        return {score + found.score, found.next};
    }

    std::vector<Node> nodes_;
    std::set<std::uint32_t> between_;  // what ends a word
    std::vector<std::map<std::uint32_t, Arc>> arcs_;
};

}  // namespace

WordList::WordList(const std::filesystem::path& path, const Charset& charset) {
    const Compiler compiled(Tree(Spelled(ReadWords(path), charset)), charset);
    for (const Node& node : compiled.nodes()) {
        backoff_state_.push_back(node.fails_to);
        backoff_.push_back(float(compiled.nodes()[std::size_t(node.fails_to)].AtStake() - node.AtStake()));
    }
    for (const auto& arcs : compiled.arcs()) {
        arc_start_.push_back(std::int64_t(arc_symbol_.size()));
        for (const auto& [symbol, arc] : arcs) {
            arc_symbol_.push_back(symbol);
            arc_score_.push_back(float(arc.score));
            arc_next_.push_back(arc.next);
        }
    }
    arc_start_.push_back(std::int64_t(arc_symbol_.size()));
    symbols_.assign(1, 0);  // the blank's is never read
    for (std::uint32_t i = 0; i < charset.characters().size(); ++i) {
        symbols_.push_back(kSpecial + i);
    }
}

ScorerView WordList::View(double bonus) const {
    return {bonus,           symbols_.data(),    kStart,           backoff_state_.data(), backoff_.data(),
            arc_start_.data(), arc_symbol_.data(), arc_score_.data(), arc_next_.data()};
}

}  // namespace htr

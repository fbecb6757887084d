#include "prefix_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace htr {
namespace {

constexpr std::int32_t kBlank = 0;
constexpr float kNever = -99.0f;     // log-probability of what nothing predicts (../ngram.py)
constexpr int kCacheBits = 12;
constexpr double kLn2 = 0.6931471805599453;

// e to the power of x: `exponential` in ../prefixes.py.
inline double Exponential(double x) {
    constexpr double kLargest = 700.0, kLog2E = 1.4426950408889634;
    constexpr double kLn2High = 0.693145751953125, kLn2Low = 1.42860682030941723e-6;
    constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: what is added and taken away is rounded to even
    x = x < -kLargest ? -kLargest : x;
    x = x > kLargest ? kLargest : x;
    const double shifted = x * kLog2E + kRound, whole = shifted - kRound;
    const double rest = (x - whole * kLn2High) - whole * kLn2Low;
    double value = 1.0 / 362880;
    value = value * rest + 1.0 / 40320;
    value = value * rest + 1.0 / 5040;
    value = value * rest + 1.0 / 720;
    value = value * rest + 1.0 / 120;
    value = value * rest + 1.0 / 24;
    value = value * rest + 1.0 / 6;
    value = value * rest + 1.0 / 2;
    value = value * rest + 1.0;
    value = value * rest + 1.0;
    std::uint64_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;  // 2 to the power of `whole`, which stands in the lowest bits
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return value * power;
}

std::uint64_t ExtendedHash(std::uint64_t prefix, std::int32_t label) {
    return (prefix + std::uint64_t(label) + 1) * 0x9E3779B97F4A7C15u + (prefix >> 29);
}

}  // namespace

ScorerStep FollowScorer(const ScorerView& scorer, std::int32_t state, std::uint32_t symbol) {
    const std::uint32_t* begin = scorer.arc_symbol + scorer.arc_start[state];
    const std::uint32_t* end = scorer.arc_symbol + scorer.arc_start[state + 1];
    const std::uint32_t* found = std::lower_bound(begin, end, symbol);
    if (found != end && *found == symbol) {
        return {scorer.arc_log_probability[found - scorer.arc_symbol], scorer.arc_next[found - scorer.arc_symbol]};
    }
    if (state == 0) {
        return {kNever, 0};
    }
    ScorerStep step = FollowScorer(scorer, scorer.backoff_state[state], symbol);
    step.score += scorer.backoff[state];
    return step;
}

PrefixSearch::PrefixSearch(std::vector<ScorerView> scorers, int classes, const SearchSettings& settings)
    : scorers_(std::move(scorers)), classes_(classes), settings_(settings), probability_(classes),
      cache_(scorers_.empty() ? 0 : std::size_t(1) << kCacheBits) {}

std::vector<FoundPrefix> PrefixSearch::Decode(const float* logits, std::int64_t frames, int n_best) {
    tree_.clear();
    scale_ = 0;
    beam_.assign(1, {1.0, 0.0, 1.0, 0, 0, kBlank, -1, {}});
    for (std::size_t s = 0; s < scorers_.size(); ++s) {
        beam_[0].states[s] = std::int32_t(scorers_[s].begin);
    }
    std::int64_t before = -1;
    for (std::int64_t place = 0; place < frames; ++place) {
        const float* frame = logits + place * classes_;
        if (!IsSearched(frame)) {
            continue;
        }
        Normalise(frame);
        Choose();
        Advance(place - before > 1);
        before = place;
    }
    choices_.clear();
    for (std::size_t k = 0; k < beam_.size(); ++k) {
        choices_.push_back({(beam_[k].blank + beam_[k].label) * EndFactor(beam_[k].states), std::int32_t(k)});
    }
    std::stable_sort(choices_.begin(), choices_.end(), [](auto& a, auto& b) { return a.total > b.total; });
    choices_.resize(std::min(choices_.size(), std::size_t(n_best)));
    std::vector<FoundPrefix> found;
    for (const Choice& choice : choices_) {
        if (choice.total > 0) {
            found.push_back({Labels(beam_[choice.place].node), std::log(choice.total) + double(scale_) * kLn2});
        }
    }
    return found;
}

bool PrefixSearch::IsSearched(const float* frame) const {
    float best = frame[1];
    bool numbers = best == best;
    for (int c = 2; c < classes_; ++c) {
        best = frame[c] > best ? frame[c] : best;
        numbers &= frame[c] == frame[c];
    }
    return !numbers || !(double(frame[kBlank]) - double(best) >= settings_.margin);
}

// Softmax of a frame: `probabilities` in ../prefixes.py.
void PrefixSearch::Normalise(const float* frame) {
    float peak = frame[0];
    bool numbers = peak == peak;
    for (int c = 1; c < classes_; ++c) {
        peak = frame[c] > peak ? frame[c] : peak;
        numbers &= frame[c] == frame[c];
    }
    if (!numbers || std::isinf(peak)) {
        throw NotNumbers("the logits are not numbers");
    }
    for (int c = 0; c < classes_; ++c) {
        probability_[c] = Exponential(double(frame[c]) - double(peak));
    }
    double sum = probability_[0];
    for (int c = 1; c < classes_; ++c) {
        sum += probability_[c];
    }
    const double inverse = 1 / sum;
    for (int c = 0; c < classes_; ++c) {
        probability_[c] *= inverse;
    }
}

// The characters that may extend a prefix, best first; among equals, the lowest label comes first.
void PrefixSearch::Choose() {
    const std::size_t size = std::size_t(std::min(settings_.candidates, classes_ - 1));
    const std::int32_t best =
        std::int32_t(std::max_element(probability_.begin() + 1, probability_.end()) - probability_.begin());
    chosen_.clear();
    for (std::int32_t c = 1; c < classes_; ++c) {
        const double value = probability_[c];
        if ((value < settings_.floor && c != best) ||
            (chosen_.size() == size && !(value > probability_[chosen_.back()]))) {
            continue;
        }
        if (chosen_.size() == size) {
            chosen_.pop_back();
        }
        auto place = chosen_.end();
        while (place != chosen_.begin() && value > probability_[*(place - 1)]) {
            --place;
        }
        chosen_.insert(place, c);
    }
    value_.clear();
    for (const std::int32_t c : chosen_) {
        value_.push_back(probability_[c]);
    }
}

void PrefixSearch::Advance(bool closed) {
    Stay(closed);
    Grow();
    for (std::size_t k = 0; k < beam_.size(); ++k) {
        if (beam_[k].last != kBlank) {
            Merge(k);
        }
    }
    Keep();
}

// What remains of each prefix where nothing is added; the frames before may have closed its last character.
void PrefixSearch::Stay(bool closed) {
    total_.clear();
    open_.clear();
    for (Prefix& prefix : beam_) {
        const double total = prefix.blank + prefix.label;
        total_.push_back(total);
        open_.push_back(closed ? total : prefix.blank);
        const double own = prefix.last != kBlank ? probability_[prefix.last] : 0.0;
        prefix.blank = total * probability_[kBlank];
        prefix.label = (closed ? 0.0 : prefix.label) * own;
    }
}

void PrefixSearch::Grow() {
    const std::size_t size = chosen_.size();
    grown_.resize(beam_.size() * size);
    growths_.resize(grown_.size());
    for (std::size_t k = 0; k < beam_.size(); ++k) {
        for (std::size_t m = 0; m < size; ++m) {
            const double reach = (beam_[k].last == chosen_[m] ? open_[k] : total_[k]) * value_[m];
            Growth& growth = growths_[k * size + m];
            growth = Follow(beam_[k].states, chosen_[m]);
            grown_[k * size + m] = reach * growth.factor;
        }
    }
}

// Joins two ways to the same prefix: that it stays, and that the prefix one label shorter grows into it.
void PrefixSearch::Merge(std::size_t longer) {
    Prefix& prefix = beam_[longer];
    for (std::size_t k = 0; k < beam_.size(); ++k) {
        if (beam_[k].hash != prefix.parent) {
            continue;
        }
        const double mass = prefix.last == beam_[k].last ? open_[k] : total_[k];
        prefix.label += mass * probability_[prefix.last] * prefix.factor;
        for (std::size_t m = 0; m < chosen_.size(); ++m) {
            if (chosen_[m] == prefix.last) {
                grown_[k * chosen_.size() + m] = 0.0;
            }
        }
    }
}

// The most probable prefixes after the frame, scaled by a power of two; among equals, those that stay come first.
void PrefixSearch::Keep() {
    choices_.clear();
    for (std::size_t k = 0; k < beam_.size(); ++k) {
        choices_.push_back({beam_[k].blank + beam_[k].label, std::int32_t(k)});
    }
    for (std::size_t place = 0; place < grown_.size(); ++place) {
        choices_.push_back({grown_[place], std::int32_t(beam_.size() + place)});
    }
    choices_.erase(std::remove_if(choices_.begin(), choices_.end(), [](auto& a) { return !(a.total > 0); }),
                   choices_.end());
    const std::size_t kept = std::min(choices_.size(), std::size_t(settings_.width));
    std::partial_sort(choices_.begin(), choices_.begin() + std::ptrdiff_t(kept), choices_.end(), [](auto& a, auto& b) {
        return a.total > b.total || (a.total == b.total && a.place < b.place);
    });
    int power = 0;
    std::frexp(choices_[0].total, &power);
    scale_ += power;
    const double down = std::ldexp(1.0, -power);
    next_.clear();
    for (std::size_t i = 0; i < kept; ++i) {
        const std::size_t place = std::size_t(choices_[i].place);
        if (place < beam_.size()) {
            next_.push_back(beam_[place]);
        } else {
            const std::size_t grown = place - beam_.size();
            const Prefix& prefix = beam_[grown / chosen_.size()];
            const std::int32_t label = chosen_[grown % chosen_.size()];
            next_.push_back({0.0, grown_[grown], growths_[grown].factor, ExtendedHash(prefix.hash, label), prefix.hash,
                             label, std::int64_t(tree_.size()), growths_[grown].states});
            tree_.push_back({prefix.node, label});
        }
        next_.back().blank *= down;
        next_.back().label *= down;
    }
    beam_.swap(next_);
}

// What the language gives to a label after some states, and the states behind it.
PrefixSearch::Growth PrefixSearch::Follow(const States& states, std::int32_t label) {
    Growth growth{settings_.bonus, {}};
    for (std::size_t s = 0; s < scorers_.size(); ++s) {
        const std::int64_t key = (std::int64_t(states[s]) * kMaxScorers + std::int64_t(s)) * classes_ + label;
        Cached& cached = cache_[(std::uint64_t(key) * 0x9E3779B97F4A7C15u) >> (64 - kCacheBits)];
        if (cached.key != key) {
            cached = {key, FollowScorer(scorers_[s], states[s], scorers_[s].symbols[label])};
        }
        growth.factor += scorers_[s].weight * double(cached.step.score);
        growth.states[s] = cached.step.next;
    }
    growth.factor = Exponential(growth.factor);
    return growth;
}

double PrefixSearch::EndFactor(const States& states) {
    double score = 0;
    for (std::size_t s = 0; s < scorers_.size(); ++s) {
        score += scorers_[s].weight * double(FollowScorer(scorers_[s], states[s], kEnd).score);
    }
    return Exponential(score);
}

std::vector<std::int32_t> PrefixSearch::Labels(std::int64_t node) const {
    std::vector<std::int32_t> labels;
    for (; node >= 0; node = tree_[std::size_t(node)].before) {
        labels.push_back(tree_[std::size_t(node)].label);
    }
    std::reverse(labels.begin(), labels.end());
    return labels;
}

}  // namespace htr

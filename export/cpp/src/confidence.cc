#include "confidence.h"

#include <algorithm>
#include <cmath>

#include "numbers.h"

namespace htr {
namespace {

constexpr double kLargest = 30;        // log-odds end here
constexpr double kLargestLog = 700;
constexpr int kLongestMemory = 24;     // characters behind an alternative whose score may change by it

double Clipped(double odds) { return std::min(std::max(odds, -kLargest), kLargest); }

Probabilities Softmax(const Logits& logits) {
    Probabilities result{{logits.values, logits.values + std::size_t(logits.frames) * std::size_t(logits.classes)},
                         logits.frames, logits.classes};
    for (auto frame = result.values.begin(); frame != result.values.end(); frame += logits.classes) {
        const auto end = frame + logits.classes;
        const float peak = *std::max_element(frame, end);
        float sum = 0;
        std::for_each(frame, end, [&](float& value) { sum += value = std::exp(value - peak); });
        std::for_each(frame, end, [&](float& value) { value /= sum; });
    }
    return result;
}

// What a scorer gives to a reading, character by character and at its end, and to the reading with another character.
class Followed {
   public:
    Followed(const ScorerView& scorer, const std::vector<std::int32_t>& labels)
        : scorer_(scorer), states_{std::int32_t(scorer.begin)} {
        for (const std::int32_t label : labels) {
            symbols_.push_back(scorer.symbols[label]);
        }
        symbols_.push_back(kEnd);
        for (const std::uint32_t symbol : symbols_) {
            const ScorerStep step = FollowScorer(scorer_, states_.back(), symbol);
            scores_.push_back(step.score);
            states_.push_back(step.next);
        }
    }

    // How much more it gives to an alternative, which is followed until the scorer has forgotten it.
    double Change(const Alternative& other) const {
        std::size_t ahead = std::size_t(other.place);
        std::int32_t now = states_[ahead];
        double change = -double(scores_[ahead]);
        if (other.label != 0) {
            const ScorerStep step = FollowScorer(scorer_, now, scorer_.symbols[other.label]);
            change += step.score;
            now = step.next;
        }
        ++ahead;
        for (int n = 0; n < kLongestMemory && ahead < symbols_.size() && now != states_[ahead]; ++n, ++ahead) {
            const ScorerStep step = FollowScorer(scorer_, now, symbols_[ahead]);
            change += double(step.score) - double(scores_[ahead]);
            now = step.next;
        }
        return change;
    }

   private:
    const ScorerView& scorer_;
    std::vector<std::uint32_t> symbols_;
    std::vector<std::int32_t> states_;
    std::vector<float> scores_;
};

}  // namespace

double LogisticMap::operator()(double odds) const { return 1 / (1 + std::exp(-Clipped(slope * odds + offset))); }

Calibration Calibration::FromText(const std::string& text, const std::string& where) {
    if (text.empty()) {
        return {};
    }
    const std::vector<double> numbers = ParseNumbers(text);
    if (numbers.size() != 4 || !(numbers[0] > 0) || !(numbers[2] > 0)) {
        throw Error("the calibration in " + where + " is damaged: fit it again with htrcompress.calibrate");
    }
    return {{numbers[0], numbers[1]}, {numbers[2], numbers[3]}};
}

Sureness SurenessOf(const Logits& logits, const std::vector<std::int32_t>& labels, const Language& language) {
    const Probabilities probability = Softmax(logits);
    Sureness sure{Align(probability, labels), {}};
    if (std::any_of(probability.values.begin(), probability.values.end(), [](float one) { return std::isnan(one); })) {
        sure.odds.assign(labels.size(), -kLargest);  // a broken network is sure of nothing
        return sure;
    }
    std::vector<Followed> followed;
    for (const ScorerView& scorer : language.scorers()) {
        followed.emplace_back(scorer, labels);
    }
    std::vector<double> others(labels.size(), 0.0);
    for (const Alternative& other : sure.alignment.alternatives) {
        double change = other.label == 0 ? -language.bonus() : 0.0;
        for (std::size_t s = 0; s < followed.size(); ++s) {
            change += language.scorers()[s].weight * followed[s].Change(other);
        }
        others[std::size_t(other.place)] += std::exp(std::min(other.log_ratio + change, kLargestLog));
    }
    for (const double one : others) {
        sure.odds.push_back(Clipped(-std::log(std::max(one, 1e-300))));
    }
    return sure;
}

double Product(const double* begin, const double* end) {
    double log_all = 0;
    for (const double* one = begin; one != end; ++one) {
        log_all += std::log(std::max(*one, 1e-12));
    }
    return Clipped(log_all - std::log(std::max(-std::expm1(log_all), 1e-13)));
}

}  // namespace htr

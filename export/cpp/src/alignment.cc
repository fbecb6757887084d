// The sums are those of the Python source, in its order.

#include "alignment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace htr {
namespace {

constexpr std::int32_t kBlank = 0;
constexpr int kAlternatives = 6;     // characters that are tried in each place
constexpr double kSmallest = 1e-7;   // less probable alternatives, against the reading, are left out
constexpr double kLargest = 1e150;   // backward probabilities of states that the forward ones all but exclude end here
constexpr double kBetter = 1 + 1e-5;  // an alignment is better than another by this factor at least
constexpr double kLargestLog = 700;

// The states of a reading, a blank, a label, a blank, and so on, with what reaches them and what they lead to.
class Lattice {
   public:
    Lattice(const Probabilities& probability, const std::vector<std::int32_t>& labels)
        : probability_(probability), labels_(labels), states_(2 * int(labels.size()) + 1) {
        Forward();
        Backward();
    }

    // The state of each frame in the best alignment.
    std::vector<int> BestPath() const {
        std::vector<std::vector<char>> back;
        std::vector<double> value(std::size_t(states_), 0.0);
        value[0] = 1;
        for (int frame = 0; frame < probability_.frames; ++frame) {
            std::vector<double> reached(value.size());
            std::vector<char> from(value.size());
            for (int s = 0; s < states_; ++s) {
                double best = At(value, s);
                for (int step = 1; step <= (Skips(s) ? 2 : 1); ++step) {
                    if (At(value, s - step) > best * kBetter) {
                        best = At(value, s - step);
                        from[std::size_t(s)] = char(step);
                    }
                }
                reached[std::size_t(s)] = best * Emitted(frame, s);
            }
            const double largest = *std::max_element(reached.begin(), reached.end());
            for (double& one : reached) {
                one /= largest > 0 ? largest : 1.0;
            }
            value.swap(reached);
            back.push_back(std::move(from));
        }
        int state = states_ > 1 && value[value.size() - 2] > value[value.size() - 1] * kBetter ? states_ - 2 : states_ - 1;
        std::vector<int> path(back.size());
        for (int frame = probability_.frames - 1; frame >= 0; --frame) {
            path[std::size_t(frame)] = state;
            state -= back[std::size_t(frame)][std::size_t(state)];
        }
        return path;
    }

    // Probability of the reading, scaled as those of its alternatives.
    double Whole() const { return At(before_.back(), states_ - 1) + At(before_.back(), states_ - 2); }

    // Probability with a label in the place of another.
    double Replaced(int place, std::int32_t label) const {
        const bool from_label = label != LabelAt(place - 1), to_label = label != LabelAt(place + 1);
        double running = 0, total = 0;
        for (int frame = 0; frame < probability_.frames; ++frame) {
            const std::vector<double>& now = before_[std::size_t(frame)];
            const std::vector<double>& then = behind_[std::size_t(frame) + 1];
            const double start = At(now, 2 * place) + (from_label ? At(now, 2 * place - 1) : 0.0);
            running = (running + start) * double(probability_.Frame(frame)[label]) / scale_[std::size_t(frame)];
            total += running * (At(then, 2 * place + 2) + (to_label ? At(then, 2 * place + 3) : 0.0));
        }
        return total;
    }

    // Probability without the label in a place.
    double Removed(int place) const {
        const bool open = place > 0 && LabelAt(place - 1) != LabelAt(place + 1);
        double total = 0;
        for (int frame = 0; frame < probability_.frames; ++frame) {
            const std::vector<double>& now = before_[std::size_t(frame)];
            const double start = At(now, 2 * place) + (open ? At(now, 2 * place - 1) : 0.0);
            total += start * At(behind_[std::size_t(frame)], 2 * place + 3);
        }
        if (place == int(labels_.size()) - 1) {
            total += At(before_.back(), 2 * place) + At(before_.back(), 2 * place - 1);
        }
        return total;
    }

   private:
    static double At(const std::vector<double>& values, int state) {
        return state >= 0 && state < int(values.size()) ? values[std::size_t(state)] : 0.0;
    }

    std::int32_t LabelAt(int place) const {
        return place >= 0 && place < int(labels_.size()) ? labels_[std::size_t(place)] : -1;
    }

    // Whether a state is reached from that two before it.
    bool Skips(int state) const { return state % 2 == 1 && state >= 3 && LabelAt(state / 2) != LabelAt(state / 2 - 1); }

    double Emitted(int frame, int state) const {
        return double(probability_.Frame(frame)[state % 2 == 1 ? LabelAt(state / 2) : kBlank]);
    }

    // What reaches each state before each frame, and what each frame was divided by.
    void Forward() {
        before_.emplace_back(std::size_t(states_), 0.0);
        before_[0][0] = 1;
        for (int frame = 0; frame < probability_.frames; ++frame) {
            const std::vector<double>& now = before_.back();
            std::vector<double> reached(now.size());
            for (int s = 0; s < states_; ++s) {
                const double sum = At(now, s) + At(now, s - 1) + (Skips(s) ? At(now, s - 2) : 0.0);
                reached[std::size_t(s)] = sum * Emitted(frame, s);
            }
            const double largest = *std::max_element(reached.begin(), reached.end());
            scale_.push_back(largest > 0 ? largest : 1.0);
            for (double& one : reached) {
                one /= scale_.back();
            }
            before_.push_back(std::move(reached));
        }
    }

    // What leads from each state in each frame to the end, the frame included.
    void Backward() {
        behind_.assign(before_.size(), std::vector<double>(std::size_t(states_), 0.0));
        behind_.back().back() = 1;
        for (int frame = probability_.frames - 1; frame >= 0; --frame) {
            const std::vector<double>& after = behind_[std::size_t(frame) + 1];
            for (int s = 0; s < states_; ++s) {
                const double sum = At(after, s) + At(after, s + 1) + (Skips(s + 2) ? At(after, s + 2) : 0.0);
                const double leads = sum * (Emitted(frame, s) / scale_[std::size_t(frame)]);
                behind_[std::size_t(frame)][std::size_t(s)] = std::min(leads, kLargest);
            }
        }
    }

    const Probabilities& probability_;
    const std::vector<std::int32_t>& labels_;
    const int states_;
    std::vector<std::vector<double>> before_, behind_;
    std::vector<double> scale_;
};

// Sets the first and the last frame of each label.
void SetSpans(const std::vector<int>& path, int labels, Alignment& alignment) {
    bool written = true;
    for (int i = 0; i < labels; ++i) {
        const auto [first, last] = std::equal_range(path.begin(), path.end(), 2 * i + 1);
        alignment.first.push_back(int(first - path.begin()));
        alignment.last.push_back(int(last - path.begin()) - 1);
        written = written && first != last;
    }
    for (int i = 0; i < labels && !written; ++i) {
        alignment.first[std::size_t(i)] = alignment.last[std::size_t(i)] = int(std::int64_t(i) * int(path.size()) / labels);
    }
}

// A positive number rounded to twelve bits: what is equal but for rounding is equal, here as in Python.
float Coarse(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = (bits + (1u << 11)) & 0xFFFFF000u;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// The labels to try in a place: the most probable ones between the characters beside it.
std::vector<std::int32_t> Candidates(const Probabilities& probability, const std::vector<std::int32_t>& labels,
                                     const Alignment& alignment, std::size_t place) {
    const int first = alignment.first[place], last = alignment.last[place];
    const int start = std::min(place == 0 ? 0 : alignment.last[place - 1] + 1, first);
    const int end = std::max(place + 1 == labels.size() ? probability.frames : alignment.first[place + 1], last + 1);
    std::vector<float> peak(std::size_t(probability.classes), 0.0f);
    for (int frame = start; frame < std::min(end, probability.frames); ++frame) {
        for (int c = 0; c < probability.classes; ++c) {
            peak[std::size_t(c)] = std::max(peak[std::size_t(c)], probability.Frame(frame)[c]);
        }
    }
    std::transform(peak.begin(), peak.end(), peak.begin(), Coarse);
    std::vector<std::int32_t> tried;
    for (std::int32_t c = 1; c < probability.classes; ++c) {
        if (c != labels[place]) {
            tried.push_back(c);
        }
    }
    const auto middle = tried.begin() + std::min<std::ptrdiff_t>(kAlternatives, std::ptrdiff_t(tried.size()));
    std::partial_sort(tried.begin(), middle, tried.end(), [&](std::int32_t a, std::int32_t b) {
        const float one = peak[std::size_t(a)], other = peak[std::size_t(b)];
        return one > other || (one == other && a < b);
    });
    tried.erase(middle, tried.end());
    return tried;
}

}  // namespace

Alignment Align(const Probabilities& probability, const std::vector<std::int32_t>& labels) {
    Alignment alignment;
    const Lattice lattice(probability, labels);
    SetSpans(lattice.BestPath(), int(labels.size()), alignment);
    const double whole = std::max(lattice.Whole(), 1e-300);
    const auto add = [&](std::size_t place, std::int32_t label, double total) {
        if (total / whole > kSmallest) {
            alignment.alternatives.push_back({int(place), label, std::min(std::log(total / whole), kLargestLog)});
        }
    };
    for (std::size_t place = 0; place < labels.size(); ++place) {
        for (const std::int32_t label : Candidates(probability, labels, alignment, place)) {
            add(place, label, lattice.Replaced(int(place), label));
        }
        add(place, kBlank, lattice.Removed(int(place)));
    }
    return alignment;
}

}  // namespace htr

#include "spans.h"

#include <algorithm>
#include <numeric>

#include "numbers.h"
#include "unicode.h"

namespace htr {
namespace {

constexpr int kConfidenceDecimals = 4, kPixelDecimals = 1;

// Where characters begin and end, one more than there are: halfway between the frames of neighbours, since CTC emits a
// character in the few frames where it is surest. The outer edges are as far from the first and the last as the inner
// ones. `frame` is the width of a frame in the picture's pixels, `width` that of the picture.
std::vector<double> Edges(const Alignment& alignment, double width, double frame) {
    const std::size_t count = alignment.first.size();
    const auto first = [&](std::size_t i) { return double(alignment.first[i]); };
    const auto behind = [&](std::size_t i) { return double(alignment.last[i] + 1); };
    std::vector<double> edges{first(0)};
    for (std::size_t i = 0; i + 1 < count; ++i) {
        edges.push_back((behind(i) + first(i + 1)) / 2);
    }
    edges.push_back(behind(count - 1));
    if (count > 1) {
        const double left = 2 * ((first(0) + behind(0)) / 2) - edges[1];
        const double right = 2 * ((first(count - 1) + behind(count - 1)) / 2) - edges[count - 1];
        edges.front() = std::min(left, edges.front());
        edges.back() = std::max(right, edges.back());
    }
    for (double& edge : edges) {
        edge = Rounded(std::min(std::max(edge * frame, 0.0), width), kPixelDecimals);
    }
    return edges;
}

}  // namespace

SpanFinder::SpanFinder(const Card& card, const Charset& charset, const Language& language)
    : charset_(charset), language_(language), stride_(card.stride) {
    const std::string& own = language.calibration();
    is_calibrated_ = !(language.scorers().empty() ? card.calibration : own).empty();
    calibration_ = own.empty() ? Calibration::FromText(card.calibration, "the model")
                               : Calibration::FromText(own, "the language model");
}

void SpanFinder::Find(const Logits& logits, const std::vector<std::int32_t>& labels, int width, int picture,
                      Reading& reading) const {
    reading.confidence = 0;
    if (labels.empty()) {
        return;
    }
    const Sureness sure = SurenessOf(logits, labels, language_);
    std::vector<double> probability;
    for (const double odds : sure.odds) {
        probability.push_back(calibration_.character(odds));
    }
    const double scale = double(picture) / width;
    const std::vector<double> edges = Edges(sure.alignment, scale * width, scale * stride_);
    const auto is_space = [&](std::size_t i) { return IsSpace(charset_.characters()[std::size_t(labels[i]) - 1]); };
    for (std::size_t start = 0; start < labels.size();) {
        std::size_t end = start;
        for (; end < labels.size() && is_space(end) == is_space(start); ++end) {
            reading.characters.push_back({charset_.Decode(&labels[end], 1), edges[end], edges[end + 1],
                                          Rounded(probability[end], kConfidenceDecimals)});
        }
        if (!is_space(start)) {
            const double sure_of_all = calibration_.word(Product(&probability[start], &probability[start] + (end - start)));
            reading.words.push_back({charset_.Decode(&labels[start], end - start), edges[start], edges[end],
                                     Rounded(sure_of_all, kConfidenceDecimals)});
        }
        start = end;
    }
    const double sum = std::accumulate(probability.begin(), probability.end(), 0.0);
    reading.confidence = Rounded(sum / double(probability.size()), kConfidenceDecimals);
}

}  // namespace htr

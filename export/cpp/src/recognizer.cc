// From lines to text over any back end: scaling, batches by width, labels to characters.

#include <algorithm>
#include <numeric>

#include "backend.h"
#include "charset.h"
#include "decoder.h"
#include "language.h"
#include "parallel.h"
#include "spans.h"

namespace htr {
namespace {

constexpr std::uint8_t kWhite = 255;

Batch Stack(const std::vector<Image>& lines, const std::vector<std::size_t>& chosen, int height, int min_width) {
    Batch batch;
    batch.height = height;
    batch.width = min_width;
    for (const std::size_t i : chosen) {
        batch.widths.push_back(lines[i].width);
        batch.width = std::max(batch.width, lines[i].width);
    }
    batch.pixels.assign(chosen.size() * height * batch.width, kWhite);
    auto row = batch.pixels.begin();
    for (const std::size_t i : chosen) {
        for (int y = 0; y < height; ++y, row += batch.width) {
            std::copy_n(lines[i].pixels.begin() + std::ptrdiff_t(y) * lines[i].width, lines[i].width, row);
        }
    }
    return batch;
}

// The labels of a line that the model decoded.
std::vector<Hypothesis> Decoded(const Output& output, std::size_t row) {
    const std::size_t frames = output.labels.size() / output.lengths.size();
    const std::int32_t length = output.lengths[row];
    if (length < 0 || std::size_t(length) > frames) {
        throw Error("the model gave " + std::to_string(length) + " labels for " + std::to_string(frames) +
                    " frames: its file is damaged");
    }
    const auto begin = output.labels.begin() + std::ptrdiff_t(row * frames);
    std::vector<std::int32_t> labels(begin, begin + length);
    labels.erase(std::remove_if(labels.begin(), labels.end(), [](std::int32_t label) { return label <= 0; }), labels.end());
    return {{std::move(labels), output.scores[row]}};
}

// The logits of a line, which has one frame for every `stride` pixels that it begins.
Logits LogitsOf(const Output& output, const Batch& batch, std::size_t row, const Card& card) {
    const int classes = int(card.charset.size()) + 1;
    const std::size_t steps = output.logits.size() / batch.widths.size() / std::size_t(classes);
    const int frames = (batch.widths[row] + card.stride - 1) / card.stride;
    if (std::size_t(frames) > steps) {
        throw Error("the model gave " + std::to_string(steps) + " frames for a line of " +
                    std::to_string(batch.widths[row]) + " pixels: its file is damaged");
    }
    return {output.logits.data() + row * steps * std::size_t(classes), frames, classes};
}

// The first is the best, the others are its alternatives.
Reading ReadingOf(const std::vector<Hypothesis>& found, const Charset& charset) {
    Reading best;
    for (const Hypothesis& one : found) {
        Reading reading;
        reading.text = charset.Decode(one.labels.data(), one.labels.size());
        reading.score = one.score;
        if (&one == &found.front()) {
            best = std::move(reading);
        } else {
            best.alternatives.push_back(std::move(reading));
        }
    }
    return best;
}

Options Resolved(Options options) {
    options.decoder = Decoder::NameOf(options);
    return options;
}

}  // namespace

Recognizer::Recognizer(const std::filesystem::path& model, const Options& options)
    : backend_(Backend::Create(model, Resolved(options))), charset_(std::make_unique<Charset>(backend_->card)),
      language_(std::make_unique<Language>(options.beam, backend_->card)),
      finder_(std::make_unique<SpanFinder>(backend_->card, *charset_, *language_)),
      decoder_(Decoder::Create(options, *language_)), batch_size_(options.batch_size) {}

Recognizer::Recognizer(Recognizer&&) noexcept = default;
Recognizer& Recognizer::operator=(Recognizer&&) noexcept = default;
Recognizer::~Recognizer() = default;

const Card& Recognizer::card() const { return backend_->card; }

std::vector<std::string> Recognizer::Warnings(bool spans) const {
    std::vector<std::string> warnings;
    if (!language_->unknown().empty()) {
        warnings.push_back("the language model lacks " + language_->unknown() + ": scored as unknown");
    }
    if (spans && !finder_->is_calibrated()) {
        warnings.push_back(std::string("the confidences") +
                           (language_->scorers().empty() ? "" : " with this language model or list of words") +
                           " are not calibrated: see python -m htrcompress.calibrate");
    }
    return warnings;
}

Image Recognizer::Prepare(const Image& image, const std::string& name) const {
    return ResizeToHeight(image, card().height, std::min(card().max_width, backend_->max_width), name);
}

std::vector<Reading> Recognizer::Read(const std::vector<Image>& images, int n_best, bool spans) {
    if (n_best < 1) {
        throw Error("the number of readings of a line must be at least 1, not " + std::to_string(n_best));
    }
    std::vector<Image> lines;
    for (const Image& image : images) {
        lines.push_back(Prepare(image, "image " + std::to_string(lines.size() + 1)));
    }
    std::vector<std::size_t> order(lines.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return lines[a].width < lines[b].width; });

    // Threads that do not wait for each other read more, so each gets batches of its own if there are lines enough.
    const std::size_t at_once = std::min(batch_size_, backend_->max_batch);
    const bool parallel = std::min(lines.size(), at_once) >= std::size_t(backend_->num_streams);
    const std::size_t streams = parallel ? backend_->num_streams : 1;
    Backend& backend = streams > 1 ? backend_->Stream() : *backend_;
    const std::size_t size =
        std::max<std::size_t>(1, std::min(at_once / streams, (lines.size() + streams - 1) / streams));
    std::vector<Reading> readings(lines.size());
    ForEachParallel(streams, (order.size() + size - 1) / size, [&](std::size_t number) {
        const auto start = order.begin() + number * size;
        const std::vector<std::size_t> chosen(start, start + std::min(size, order.size() - number * size));
        const Batch batch = Stack(lines, chosen, card().height, backend.min_width);
        const Output output = backend.Run(batch, spans || decoder_ != nullptr);
        for (std::size_t row = 0; row < chosen.size(); ++row) {
            const Image& line = lines[chosen[row]];
            const std::vector<Hypothesis> found =
                decoder_ ? decoder_->Decode(LogitsOf(output, batch, row, card()), n_best) : Decoded(output, row);
            Reading& reading = readings[chosen[row]] = ReadingOf(found, *charset_);
            if (spans) {
                finder_->Find(LogitsOf(output, batch, row, card()), found.front().labels, line.width,
                              line.original_width > 0 ? line.original_width : line.width, reading);
            }
        }
    });
    return readings;
}

}  // namespace htr

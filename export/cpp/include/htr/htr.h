// Reading lines of handwriting with a model that htrcompress exported.
//
//   htr::Recognizer recognizer("model.onnx");
//   htr::Image line{height, width, pixels};  // grey, from any image library
//   std::cout << recognizer.Read({line})[0].text << "\n";
//
// A model is `model.onnx`, run by ONNX Runtime, or `model.engine` with `model.engine.meta` beside it, run by TensorRT
// or TensorRT-RTX, whichever built it. The runtime's library is loaded when a model is opened, so a program links to
// none. Every failure is an htr::Error. A Recognizer may be used by one thread at a time.

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace htr {

// What went wrong, where, and what to do about it, in one sentence.
class Error : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// A grey picture, row by row, dark ink on light paper: pixels.size() == height * width.
struct Image {
    int height = 0;
    int width = 0;
    std::vector<std::uint8_t> pixels;
    int original_width = 0;  // of the picture that this was scaled from, in pixels; 0 where it was not scaled
};

// Images with more pixels are refused.
constexpr std::int64_t kMaxImagePixels = 100'000'000;

// The image at another size, by the area filter of htrcompress/image.py, to the bit.
Image Scale(const Image& image, int height, int width);

// A line scaled to `height`, its width in proportion. A line that would be wider than `max_width` is refused with an
// error that calls it `name`.
Image ResizeToHeight(const Image& image, int height, int max_width, const std::string& name);

// What a model file states about its model.
struct Card {
    std::vector<std::string> charset;  // UTF-8; character i is label i + 1, label 0 is the blank
    int height = 0;                    // of the lines that it reads, in pixels
    int stride = 0;                    // pixels for each frame
    int max_width = 0;                 // of the widest line that it reads, in pixels at `height`
    std::string digest;                // the same in every form of a model: SHA-256 of its network and characters
    std::string direction = "ltr";     // of its lines as a whole, or "rtl"; texts are in the order of reading
    std::string calibration;           // what makes probabilities of its confidences; empty if it was not fitted
};

// A character or a word of a reading.
struct Span {
    std::string text;       // UTF-8
    double start = 0;       // columns of the picture as it was given, in pixels
    double end = 0;
    double confidence = 0;  // the probability that it is right
};

// What a model reads in one line.
struct Reading {
    std::string text = {};  // UTF-8
    float score = 0;        // log-probability for each character; minus infinity where there are none
    std::vector<Reading> alternatives = {};  // the next best ones, where `Read` is asked for them
    // Where `Read` is asked for spans: the share of the characters that should be right, and characters and words in
    // the order of the page, from left to right. Spaces are characters, and each character ends where the next begins.
    std::optional<double> confidence = {};
    std::vector<Span> characters = {};
    std::vector<Span> words = {};
};

// How the beam search decodes; see `BeamOptions` and `LanguageOptions` of htrcompress.
struct BeamOptions {
    std::filesystem::path lm;      // a language model from python -m htrcompress.lm; empty for none
    std::optional<double> weight;  // of its log-probability; as tuned, or 0.5, if not given
    std::optional<double> bonus;   // added for every character; as tuned, or 0, if not given
    std::filesystem::path words;   // a text file with a likely word in each row; empty for none
    std::optional<double> words_bonus;  // for every character of a listed word; as tuned, or 0.5, if not given
    int width = 12;                // prefixes that are kept
    int candidates = 8;            // characters that may extend a prefix in a frame
    double blank = 0.999;          // frames whose blank is so probable are not searched
    double floor = 1e-4;           // less probable characters do not extend a prefix
};

struct Options {
    int batch_size = 32;  // lines that the network sees at once, on all threads; fewer where fewer are faster
    int threads = 0;      // for ONNX Runtime; 0 for as many as the process may use cores
    std::string runtime;  // the runtime's library; empty for its usual name, found by the dynamic loader
    // Empty for the decode in the model, or for `beam` where a language model or a list of words is named. `greedy` and
    // `beam` decode the logits of a model that gives them.
    std::string decoder;
    BeamOptions beam;
};

class Backend;
class Charset;
class Decoder;
class Language;
class SpanFinder;

class Recognizer {
   public:
    explicit Recognizer(const std::filesystem::path& model, const Options& options = {});
    Recognizer(Recognizer&&) noexcept;
    Recognizer& operator=(Recognizer&&) noexcept;
    ~Recognizer();

    const Card& card() const;

    // What the user may want to know, in a sentence each: characters that the language model lacks, and, if `spans` are
    // read, confidences that were not calibrated.
    std::vector<std::string> Warnings(bool spans = false) const;

    // `ResizeToHeight` for this model.
    Image Prepare(const Image& image, const std::string& name) const;

    // Reads lines of any height, in the order given; a line reads the same whatever stands beside it in a batch. Of
    // `n_best` readings, which the beam search gives, all but the best are its alternatives. `spans` asks where
    // characters and words stand and how sure they are, for which the model must give logits.
    std::vector<Reading> Read(const std::vector<Image>& lines, int n_best = 1, bool spans = false);

   private:
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<const Charset> charset_;
    std::unique_ptr<const Language> language_;
    std::unique_ptr<const SpanFinder> finder_;
    std::unique_ptr<Decoder> decoder_;
    int batch_size_;
};

}  // namespace htr

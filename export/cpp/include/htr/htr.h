// Reading lines of handwriting with a model that htrcompress exported.
//
//   htr::Recognizer recognizer("model.onnx");
//   for (const htr::Reading& reading : recognizer.read({htr::read_pgm("line.pgm")}))
//       std::cout << reading.text << "\n";
//
// A model is `model.onnx`, run by ONNX Runtime, or `model.engine` with `model.engine.json` beside it, run by
// TensorRT or TensorRT-RTX, whichever that says, with the plugin that it names. The library is loaded when a model is
// opened, so a program links with none. Everything is reported by htr::Error. A Recognizer is used by one thread at a
// time.

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace htr {

// A mistake or a mishap, told in one sentence.
class Error : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// A grey picture, row by row, dark ink on light paper: pixels.size() == height * width.
struct Image {
    int height = 0;
    int width = 0;
    std::vector<std::uint8_t> pixels;
};

// Images with more pixels are refused.
constexpr std::int64_t kMaxImagePixels = 100'000'000;

// Reads a PGM file (P5 or P2) of 8 bits a pixel.
Image read_pgm(const std::filesystem::path& path);

// The image at another size, by the area filter of htrcompress/image.py, to the bit.
Image scale(const Image& image, int height, int width);

// A line scaled to `height`, its width in proportion. Refused if wider than `max_width`; `name` is for the error.
Image normalise(const Image& image, int height, int max_width, const std::string& name);

// What a model says of itself.
struct Card {
    std::string name;
    std::vector<std::string> charset;  // UTF-8; character i is label i + 1, label 0 is the blank
    int height = 0;                    // of the lines it reads, in pixels
    int stride = 0;                    // pixels a frame
    int max_width = 0;                 // of the widest line it reads, in pixels at `height`
};

// What a model reads in one line.
struct Reading {
    std::string text;  // UTF-8
    float score = 0;   // mean log-probability of the characters; -inf where there are none
};

struct Options {
    int batch_size = 32;  // lines that the network sees at once, on all threads; fewer where fewer are faster
    int threads = 0;      // for ONNX Runtime; 0 for all
    std::string runtime;  // the runtime's library; empty for its usual name, found by the dynamic loader
};

class Backend;

class Recognizer {
   public:
    explicit Recognizer(const std::filesystem::path& model, const Options& options = {});
    Recognizer(Recognizer&&) noexcept;
    Recognizer& operator=(Recognizer&&) noexcept;
    ~Recognizer();

    const Card& card() const;

    // `normalise` for this model.
    Image prepare(const Image& image, const std::string& name) const;

    // Reads lines of any height, in the order given; a line reads the same whatever stands beside it.
    std::vector<Reading> read(const std::vector<Image>& lines);

   private:
    std::unique_ptr<Backend> backend_;
    int batch_size_;
};

}  // namespace htr

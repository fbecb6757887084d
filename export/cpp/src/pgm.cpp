// PGM files: a header of four words, then grey values as bytes (P5) or as numbers (P2).

#include <algorithm>
#include <fstream>
#include <system_error>

#include "htr/htr.h"

namespace htr {
namespace {

constexpr int kMaxDigits = 9;
constexpr int kMaxValue = 255;

class PgmReader {
   public:
    explicit PgmReader(const std::filesystem::path& path) : name_(path.string()), file_(path, std::ios::binary) {
        std::error_code none;  // of a name that is too long, or links in a circle: no file either
        if (!std::filesystem::is_regular_file(path, none) || !file_) {
            throw Error("no image at " + name_);
        }
    }

    Image read() {
        const std::string kind{char(file_.get()), char(file_.get())};
        if (kind != "P5" && kind != "P2") {
            throw Error(name_ + " is not a PGM image (P5 or P2): convert it to grey PGM");
        }
        const std::int64_t width = number(), height = number(), largest = number();
        if (width < 1 || height < 1 || width * height > kMaxImagePixels) {
            throw Error(name_ + " has " + std::to_string(width) + "x" + std::to_string(height) +
                        " pixels; from 1 to " + std::to_string(kMaxImagePixels) + " can be read");
        }
        if (largest < 1 || largest > kMaxValue) {
            throw Error(name_ + " has grey values up to " + std::to_string(largest) + ": convert it to 8 bits a pixel");
        }
        Image image{int(height), int(width), {}};
        const std::size_t count = std::size_t(width) * height;
        if (kind == "P5") {
            read_bytes(image.pixels, count);
        } else {
            while (image.pixels.size() < count) {
                const std::int64_t value = number();
                require_allowed(value, largest);
                image.pixels.push_back(std::uint8_t(value));
            }
        }
        for (std::uint8_t& pixel : image.pixels) {
            require_allowed(pixel, largest);
            pixel = std::uint8_t((2 * kMaxValue * pixel + largest) / (2 * largest));
        }
        return image;
    }

   private:
    void require_allowed(std::int64_t value, std::int64_t largest) const {
        if (value > largest) {
            throw Error(name_ + " is damaged: a pixel is brighter than its header allows");
        }
    }

    // Reads in pieces, so that a header that promises too much costs no memory.
    void read_bytes(std::vector<std::uint8_t>& pixels, std::size_t count) {
        constexpr std::size_t piece = 1 << 20;
        while (pixels.size() < count) {
            const std::size_t before = pixels.size();
            pixels.resize(std::min(count, before + piece));
            file_.read(reinterpret_cast<char*>(&pixels[before]), std::streamsize(pixels.size() - before));
            if (std::size_t(file_.gcount()) != pixels.size() - before) {
                throw damaged();
            }
        }
    }

    // The next number, after white space and comments; takes the one character after it too.
    std::int64_t number() {
        int c = file_.get();
        while (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
            while (c == '#' && file_) {
                for (c = file_.get(); c != '\n' && file_;) {
                    c = file_.get();
                }
            }
            c = file_.get();
        }
        std::int64_t value = 0;
        int digits = 0;
        for (; c >= '0' && c <= '9' && digits < kMaxDigits; c = file_.get(), ++digits) {
            value = 10 * value + (c - '0');
        }
        if (digits == 0 || (c >= '0' && c <= '9')) {
            throw damaged();
        }
        return value;
    }

    Error damaged() const { return Error(name_ + " is damaged or cut short: write it again as PGM"); }

    std::string name_;
    std::ifstream file_;
};

}  // namespace

Image read_pgm(const std::filesystem::path& path) { return PgmReader(path).read(); }

}  // namespace htr

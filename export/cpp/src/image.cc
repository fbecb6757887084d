// Scaling in integers: an output pixel is the exact mean of the input over its area, rounded half up.

#include <algorithm>
#include <utility>

#include "htr/htr.h"

namespace htr {
namespace {

// Calls add(input, weight) for the inputs under interval `i` of `n` equal ones over `m` inputs, in units of 1/n of
// an input. The weights add up to m.
template <class Add>
void ForEachUnder(std::int64_t i, std::int64_t n, std::int64_t m, const Add& add) {
    const std::int64_t end = (i + 1) * m;
    for (std::int64_t at = i * m; at < end;) {
        const std::int64_t input = at / n;
        const std::int64_t next = std::min(end, (input + 1) * n);
        add(input, next - at);
        at = next;
    }
}

void RequirePixels(const Image& image, const std::string& name) {
    const std::int64_t count = std::int64_t(image.height) * image.width;
    if (image.height <= 0 || image.width <= 0) {
        throw Error(name + " has no pixels: its size is " + std::to_string(image.width) + "x" +
                    std::to_string(image.height));
    }
    if (count > kMaxImagePixels || count != std::int64_t(image.pixels.size())) {
        throw Error(name + " is " + std::to_string(image.width) + "x" + std::to_string(image.height) + " but holds " +
                    std::to_string(image.pixels.size()) + " pixels; the limit is " + std::to_string(kMaxImagePixels));
    }
}

}  // namespace

Image Scale(const Image& image, int height, int width) {
    RequirePixels(image, "the image");
    if (height <= 0 || width <= 0 || std::int64_t(height) * width > kMaxImagePixels) {
        throw Error("an image cannot be scaled to " + std::to_string(width) + "x" + std::to_string(height) +
                    ": give sizes from 1 and at most " + std::to_string(kMaxImagePixels) + " pixels");
    }
    Image result{height, width, std::vector<std::uint8_t>(std::size_t(height) * width)};
    const std::int64_t area = std::int64_t(image.height) * image.width;  // the weights of an output pixel
    std::vector<std::int64_t> row(image.width);                         // sums over the rows under one output row
    for (int y = 0; y < height; ++y) {
        std::fill(row.begin(), row.end(), 0);
        ForEachUnder(y, height, image.height, [&](std::int64_t input, std::int64_t weight) {
            const std::uint8_t* pixels = &image.pixels[input * image.width];
            for (int x = 0; x < image.width; ++x) {
                row[x] += weight * pixels[x];
            }
        });
        for (int x = 0; x < width; ++x) {
            std::int64_t sum = 0;
            ForEachUnder(x, width, image.width,
                         [&](std::int64_t input, std::int64_t weight) { sum += weight * row[input]; });
            result.pixels[std::size_t(y) * width + x] = std::uint8_t((2 * sum + area) / (2 * area));
        }
    }
    return result;
}

Image ResizeToHeight(const Image& image, int height, int max_width, const std::string& name) {
    RequirePixels(image, name);
    const std::int64_t h = image.height;
    const std::int64_t width = std::max<std::int64_t>(1, (2 * std::int64_t(image.width) * height + h) / (2 * h));
    if (width > max_width) {
        throw Error(name + " is " + std::to_string(width) + " pixels wide at height " + std::to_string(height) +
                    "; the model reads up to " + std::to_string(max_width) + ": split the line");
    }
    Image line = image.height == height ? image : Scale(image, height, int(width));
    line.original_width = image.original_width > 0 ? image.original_width : image.width;
    return line;
}

}  // namespace htr

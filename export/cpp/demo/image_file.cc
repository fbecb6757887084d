// stb_image is a single header of the system; it keeps its last error for the whole program.

#include "image_file.h"

#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <system_error>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace {

constexpr int kWhite = 255;

std::string ReadBytes(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
        throw htr::Error("no image at " + path.string());
    }
    std::ifstream file(path, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file || bytes.empty() || bytes.size() > std::size_t(std::numeric_limits<int>::max())) {
        throw htr::Error("cannot read the image " + path.string() + ": it is empty or larger than 2 GB");
    }
    return bytes;
}

// stb_image does not scale the values of a PGM whose white is neither 255 nor 65535.
bool HasOddWhite(const std::string& bytes) {
    if (bytes.rfind("P5", 0) != 0 && bytes.rfind("P6", 0) != 0) {
        return false;
    }
    std::istringstream header(bytes.substr(2, 4096));
    long numbers[3] = {0, 0, 0};
    for (long& number : numbers) {
        while ((header >> std::ws).peek() == '#') {
            header.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
        }
        header >> number;
    }
    return numbers[2] != 255 && numbers[2] != 65535;
}

std::uint8_t Grey(const std::uint8_t* pixel, int channels) {
    const int grey =
        channels < 3 ? pixel[0] : (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 0x8000) >> 16;
    if (channels % 2 != 0) {
        return std::uint8_t(grey);
    }
    const int alpha = pixel[channels - 1];
    return std::uint8_t((grey * alpha + kWhite * (255 - alpha) + 127) / 255);
}

}  // namespace

htr::Image ReadImage(const std::filesystem::path& path) {
    const std::string bytes = ReadBytes(path);
    const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
    int width = 0, height = 0, channels = 0;
    if (!stbi_info_from_memory(data, int(bytes.size()), &width, &height, &channels)) {
        throw htr::Error(path.string() + " is not a PNG, JPEG or PGM image: " + stbi_failure_reason());
    }
    if (std::int64_t(width) * height > htr::kMaxImagePixels) {
        throw htr::Error(path.string() + " has " + std::to_string(width) + "x" + std::to_string(height) +
                         " pixels; the limit is " + std::to_string(htr::kMaxImagePixels));
    }
    if (HasOddWhite(bytes)) {
        throw htr::Error(path.string() + " has a white that is neither 255 nor 65535: convert it to PNG");
    }
    const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
        stbi_load_from_memory(data, int(bytes.size()), &width, &height, &channels, 0), stbi_image_free);
    if (pixels == nullptr) {
        throw htr::Error("cannot read the image " + path.string() + ": " + stbi_failure_reason());
    }
    htr::Image image{height, width, std::vector<std::uint8_t>(std::size_t(height) * width)};
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
        image.pixels[i] = Grey(pixels.get() + i * channels, channels);
    }
    return image;
}

// The parts of libhtr that need no runtime, as a program for tests/test_cpp.py.
//
//   g++ -std=c++17 -Iinclude -Isrc test/parts.cpp src/{image,pgm,json,card,document}.cpp -o parts
//
//   parts scale  IN.pgm HEIGHT WIDTH OUT ...      scales images
//   parts line   IN.pgm HEIGHT MAX_WIDTH OUT ...  scales lines
//   parts card   FILE.json ...                    reads cards
//   parts engine MODEL.engine ...                 reads what stands beside engines
//
// Each job gives one line on stdout: "ok" and what was found, or "error: " and why not. OUT is raw grey bytes.

#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>

#include "card.h"
#include "document.h"

namespace {

std::string size_and_write(const htr::Image& image, const std::string& path) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.pixels.data()), std::streamsize(image.pixels.size()));
    return std::to_string(image.height) + " " + std::to_string(image.width);
}

std::string card(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const htr::Card found = htr::read_card(htr::json::parse(text, path), path);
    std::string result = found.name + " " + std::to_string(found.height) + " " + std::to_string(found.stride) + " " +
                         std::to_string(found.max_width) + " ";
    for (const std::string& character : found.charset) {
        result += character;
    }
    return result;
}

std::string engine(const std::string& path) {
    const htr::EngineDocument found = htr::read_engine_document(path);
    return found.card.name + " " + found.runtime + " " + found.version + " " + found.plugin.string();
}

std::string job(const std::string& kind, char** words) {
    if (kind == "card") {
        return card(words[0]);
    }
    if (kind == "engine") {
        return engine(words[0]);
    }
    const htr::Image image = htr::read_pgm(words[0]);
    const int height = std::stoi(words[1]), width = std::stoi(words[2]);
    return size_and_write(kind == "scale" ? htr::scale(image, height, width)
                                          : htr::normalise(image, height, width, words[0]),
                          words[3]);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string kind = argc > 1 ? argv[1] : "";
    const int words = kind == "card" || kind == "engine" ? 1 : 4;
    for (int i = 2; i + words <= argc; i += words) {
        try {
            const std::string found = job(kind, argv + i);
            std::cout << "ok " << found << "\n";
        } catch (const htr::Error& error) {
            std::cout << "error: " << error.what() << "\n";
        }
    }
}

// Reads PNG, JPEG and PGM images of text lines and prints `path<TAB>text` for each.
//
//   htr_read IMAGE... --model model.onnx [--runtime libonnxruntime.so] [--batch 32] [--threads N]
//   htr_read IMAGE... --model model.onnx --lm letters.ngram [--lm.weight 0.8] [--lm.bonus 1.5] [--beam.width 12]
//   htr_read IMAGE... --model model.onnx --lm.words names.txt [--lm.words_bonus 0.5]
//
// `--decoder greedy` or `beam` decodes in C++ instead of in the model; `--lm` stands for `beam` with a language model.
// An image that cannot be read is named on stderr; the others are still read, and the exit status is 2.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "htr/htr.h"
#include "image_file.h"

namespace {

constexpr std::size_t kWindow = 1024;  // images that are held and sorted by width together
constexpr char kUsage[] = 
    "usage: htr_read IMAGE... --model MODEL [--runtime LIBRARY] [--decoder NAME] [--lm FILE] [--lm.weight X] "
    "[--lm.bonus X] [--lm.words FILE] [--lm.words_bonus X] [--beam.width N] [--batch N] [--threads N]";

struct Arguments {
    std::vector<std::string> images;
    std::string model;
    htr::Options options;
};

int Number(const std::string& name, const std::string& text) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > 65536) {
        throw htr::Error(name + " takes a number from 1 to 65536, not '" + text + "'");
    }
    return int(value);
}

double Real(const std::string& name, const std::string& text) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(value)) {
        throw htr::Error(name + " takes a finite number, not '" + text + "'");
    }
    return value;
}

// Sets the option that is called `name`; returns whether there is one.
bool Set(htr::Options& options, const std::string& name, const std::string& value) {
    if (name == "--runtime") {
        options.runtime = value;
    } else if (name == "--decoder") {
        options.decoder = value;
    } else if (name == "--lm") {
        options.beam.lm = value;
    } else if (name == "--lm.weight") {
        options.beam.weight = Real(name, value);
    } else if (name == "--lm.bonus") {
        options.beam.bonus = Real(name, value);
    } else if (name == "--lm.words") {
        options.beam.words = value;
    } else if (name == "--lm.words_bonus") {
        options.beam.words_bonus = Real(name, value);
    } else if (name == "--beam.width") {
        options.beam.width = Number(name, value);
    } else if (name == "--batch") {
        options.batch_size = Number(name, value);
    } else if (name == "--threads") {
        options.threads = Number(name, value);
    } else {
        return false;
    }
    return true;
}

Arguments Parse(const std::vector<std::string>& words) {
    Arguments arguments;
    for (auto word = words.begin(); word != words.end(); ++word) {
        if (word->rfind("--", 0) != 0) {
            arguments.images.push_back(*word);
            continue;
        }
        if (word + 1 == words.end()) {
            throw htr::Error(*word + " needs a value; " + kUsage);
        }
        const std::string& option = *word;
        const std::string& value = *++word;
        if (option == "--model") {
            arguments.model = value;
        } else if (!Set(arguments.options, option, value)) {
            throw htr::Error("no option is called " + option + "; " + kUsage);
        }
    }
    if (arguments.images.empty() || arguments.model.empty()) {
        throw htr::Error(kUsage);
    }
    return arguments;
}

// Reads some images and prints their texts; returns whether all could be read.
bool Read(htr::Recognizer& recognizer, const std::vector<std::string>& paths) {
    std::vector<std::string> readable;
    std::vector<htr::Image> lines;
    for (const std::string& path : paths) {
        try {
            lines.push_back(recognizer.Prepare(ReadImage(path), path));
            readable.push_back(path);
        } catch (const htr::Error& error) {
            std::cerr << "error: " << error.what() << "\n";
        }
    }
    const std::vector<htr::Reading> readings = recognizer.Read(lines);
    for (std::size_t i = 0; i < readings.size(); ++i) {
        std::cout << readable[i] << "\t" << readings[i].text << "\n";
    }
    return readable.size() == paths.size();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const Arguments arguments = Parse({argv + 1, argv + argc});
        htr::Recognizer recognizer(arguments.model, arguments.options);
        for (const std::string& warning : recognizer.Warnings()) {
            std::cerr << "warning: " << warning << "\n";
        }
        bool all = true;
        for (std::size_t start = 0; start < arguments.images.size(); start += kWindow) {
            const std::size_t end = std::min(arguments.images.size(), start + kWindow);
            all = Read(recognizer, {arguments.images.begin() + start, arguments.images.begin() + end}) && all;
        }
        return all ? 0 : 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 2;
    }
}

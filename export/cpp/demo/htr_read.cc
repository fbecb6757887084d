// Reads PNG, JPEG and PGM images of text lines and prints `path<TAB>text` for each.
//
//   htr_read IMAGE... --model model.onnx [--runtime libonnxruntime.so] [--batch 32] [--threads N]
//   htr_read IMAGE... --model model.onnx --lm letters.ngram [--lm.weight 0.8] [--lm.bonus 1.5] [--beam.width 12]
//   htr_read IMAGE... --model model.onnx --lm.words names.txt [--lm.words_bonus 0.5]
//
//   htr_read IMAGE... --model model.onnx --json [--spans] [--n_best 5]
//
// `--json` prints one JSON document in the place of lines of text; with `--spans` it says where characters and words
// stand in the pictures and how sure they are, with `--n_best` it holds other readings.
// `--decoder greedy` or `beam` decodes in C++ instead of in the model; `--lm` stands for `beam` with a language model.
// An image that cannot be read is named on stderr; the others are still read, and the exit status is 2.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "htr/htr.h"
#include "image_file.h"
#include "json.h"

namespace {

constexpr std::size_t kWindow = 1024;  // images that are held and sorted by width together
constexpr char kUsage[] = 
    "usage: htr_read IMAGE... --model MODEL [--runtime LIBRARY] [--decoder NAME] [--lm FILE] [--lm.weight X] "
    "[--lm.bonus X] [--lm.words FILE] [--lm.words_bonus X] [--beam.width N] [--json] [--spans] "
    "[--n_best N] [--batch N] [--threads N]";

struct Arguments {
    std::vector<std::string> images;
    std::string model;
    htr::Options options;
    bool json = false;
    bool spans = false;
    int n_best = 1;
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
        if (*word == "--json" || *word == "--spans") {
            (*word == "--json" ? arguments.json : arguments.spans) = true;
            continue;
        }
        if (word + 1 == words.end()) {
            throw htr::Error(*word + " needs a value; " + kUsage);
        }
        const std::string& option = *word;
        const std::string& value = *++word;
        if (option == "--model") {
            arguments.model = value;
        } else if (option == "--n_best") {
            arguments.n_best = Number(option, value);
        } else if (!Set(arguments.options, option, value)) {
            throw htr::Error("no option is called " + option + "; " + kUsage);
        }
    }
    if (arguments.images.empty() || arguments.model.empty()) {
        throw htr::Error(kUsage);
    }
    if (!arguments.json && (arguments.spans || arguments.n_best > 1)) {
        throw htr::Error("--spans and --n_best are for the result of --json: name that too");
    }
    return arguments;
}

// Prints what was read in each image, as lines of text or as one JSON document.
class Printer {
   public:
    explicit Printer(const Arguments& arguments) : json_(arguments.json) {
        if (json_) {
            std::cout << "{\"model\": " << Quoted(arguments.model) << ", \"images\": [";
        }
    }

    void Print(const std::string& path, const htr::Reading& reading) {
        if (json_) {
            Entry(ToJson(path, reading));
        } else {
            std::cout << path << "\t" << reading.text << "\n";
        }
    }

    void PrintError(const std::string& path, const std::string& error) {
        if (json_) {
            Entry(ToJson(path, error));
        }
    }

    void End() { std::cout << (json_ ? "\n]}\n" : ""); }

   private:
    void Entry(const std::string& text) {
        std::cout << (first_ ? "\n" : ",\n") << text;
        first_ = false;
    }

    const bool json_;
    bool first_ = true;
};

// Reads some images and prints their texts; returns whether all could be read.
bool Read(htr::Recognizer& recognizer, const Arguments& arguments, std::size_t start, std::size_t end,
          Printer& printer) {
    std::map<std::size_t, std::string> errors;
    std::vector<htr::Image> lines;
    for (std::size_t i = start; i < end; ++i) {
        try {
            lines.push_back(recognizer.Prepare(ReadImage(arguments.images[i]), arguments.images[i]));
        } catch (const htr::Error& error) {
            std::cerr << "error: " << error.what() << "\n";
            errors[i] = error.what();
        }
    }
    const std::vector<htr::Reading> readings = recognizer.Read(lines, arguments.n_best, arguments.spans);
    auto reading = readings.begin();
    for (std::size_t i = start; i < end; ++i) {
        if (const auto error = errors.find(i); error != errors.end()) {
            printer.PrintError(arguments.images[i], error->second);
        } else {
            printer.Print(arguments.images[i], *reading++);
        }
    }
    return errors.empty();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const Arguments arguments = Parse({argv + 1, argv + argc});
        htr::Recognizer recognizer(arguments.model, arguments.options);
        for (const std::string& warning : recognizer.Warnings(arguments.spans)) {
            std::cerr << "warning: " << warning << "\n";
        }
        Printer printer(arguments);
        bool all = true;
        for (std::size_t start = 0; start < arguments.images.size(); start += kWindow) {
            const std::size_t end = std::min(arguments.images.size(), start + kWindow);
            all = Read(recognizer, arguments, start, end, printer) && all;
        }
        printer.End();
        return all ? 0 : 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 2;
    }
}

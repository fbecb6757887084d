// The parts of libhtr that need no runtime, as a program for tests/test_cpp.py.
//
//   parts scale  IN HEIGHT WIDTH OUT H W ...      scales a picture of H x W raw grey bytes
//   parts line   IN HEIGHT MAX_WIDTH OUT H W ...  scales a line
//   parts meta   FILE ...                         reads the card in a document
//   parts engine MODEL.engine ...                 reads the document beside an engine, and the engine
//   parts sha256 FILE ...                         hashes a file
//   parts quota  MOUNTED MEMBERSHIP ...           reads the limits of control groups
//   parts cores  _ ...                            counts the processors that the process may use
//   parts greedy IN FRAMES CLASSES ...            decodes raw FP32 logits of one line
//   parts beam   IN FRAMES CARD LM WEIGHT BONUS WORDS WORDS_BONUS WIDTH N_BEST ...  the same with the search; "-" for
//                                                 what is not given
//   parts sure   IN FRAMES CARD LM WEIGHT BONUS WORDS WORDS_BONUS LABELS WIDTH PICTURE ...  the spans of a reading
//   parts page   CARD TEXT ...                    a text as it stands on the page
//   parts text   CARD TEXT ...                    the text of the labels of some characters
//   parts nfc    TEXT ...                         a text in normal form C
//   parts kinds  FIRST LAST ...                   bidirectional class, letter, space and mirror image of characters
//
// Each job gives one line on stdout: "ok" and what was found, or "error: " and why not. OUT is raw grey bytes.

#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>

#include "charset.h"
#include "cores.h"
#include "decoder.h"
#include "engine_file.h"
#include "file.h"
#include "language.h"
#include "metadata.h"
#include "sha256.h"
#include "spans.h"
#include "unicode.h"
#include "utf8.h"

namespace {

std::string Bytes(const std::string& path) { return htr::ReadFile(path, 1 << 30, "give a file"); }

htr::Image Picture(const std::string& path, int height, int width) {
    const std::string bytes = Bytes(path);
    return {height, width, {bytes.begin(), bytes.end()}};
}

std::string Write(const htr::Image& image, const std::string& path) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.pixels.data()), std::streamsize(image.pixels.size()));
    return std::to_string(image.height) + " " + std::to_string(image.width);
}

htr::Card CardIn(const std::string& path) {
    const htr::Metadata entries = htr::ParseMetadata(Bytes(path), path);
    const auto find = [&](const std::string& key) {
        const auto found = entries.find(key);
        return found == entries.end() ? std::nullopt : std::make_optional(found->second);
    };
    return htr::ReadCard(find, path);
}

std::string Describe(const htr::Card& card) {
    std::string text = std::to_string(card.height) + " " + std::to_string(card.stride) + " " +
                       std::to_string(card.max_width) + " " + card.digest + " ";
    for (const std::string& character : card.charset) {
        text += character;
    }
    return text;
}

std::string Engine(const std::string& path) {
    const htr::EngineDocument found = htr::ReadEngineDocument(path);
    return found.runtime + " " + found.version + " " + std::to_string(htr::ReadEngine(path, found).size()) + " " +
           found.plugin.string();
}

// The readings that a decoder gives: score and labels of each, with bars between them.
std::string Decode(const std::string& path, int frames, int classes, const htr::Decoder& decoder, int n_best) {
    const std::string bytes = Bytes(path);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    std::string text;
    for (const htr::Hypothesis& found : decoder.Decode({values.data(), frames, classes}, n_best)) {
        text += (text.empty() ? "" : " | ") + std::to_string(found.score);
        for (const int label : found.labels) {
            text += " " + std::to_string(label);
        }
    }
    return text;
}

htr::Options BeamOptions(char** words) {
    const auto given = [&](int place) { return std::string(words[place]) != "-"; };
    htr::Options options;
    options.decoder = "beam";
    if (given(3)) {
        options.beam.lm = words[3];
    }
    if (given(4)) {
        options.beam.weight = std::stod(words[4]);
    }
    if (given(5)) {
        options.beam.bonus = std::stod(words[5]);
    }
    if (given(6)) {
        options.beam.words = words[6];
    }
    if (given(7)) {
        options.beam.words_bonus = std::stod(words[7]);
    }
    return options;
}

std::string Beam(const std::string& path, int frames, char** words) {
    const htr::Card card = CardIn(words[2]);
    htr::Options options = BeamOptions(words);
    options.beam.width = std::stoi(words[8]);
    const htr::Language language(options.beam, card);
    const auto decoder = htr::Decoder::Create(options, language);
    return Decode(path, frames, int(card.charset.size()) + 1, *decoder, std::stoi(words[9]));
}

// Whether the reading with these labels has calibrated confidences, its own, and its characters and words.
std::string Sure(const std::string& path, int frames, char** words) {
    const htr::Card card = CardIn(words[2]);
    const htr::Charset charset(card);
    const htr::Language language(BeamOptions(words).beam, card);
    const std::string bytes = Bytes(path);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    std::vector<std::int32_t> labels;
    std::istringstream stream(words[8]);
    for (std::int32_t label = 0; stream >> label;) {
        labels.push_back(label);
    }
    htr::Reading reading;
    const htr::SpanFinder finder(card, charset, language);
    finder.Find({values.data(), frames, int(charset.characters().size()) + 1}, labels, std::stoi(words[9]),
                std::stoi(words[10]), reading);
    std::ostringstream text;
    text.precision(12);
    text << finder.is_calibrated() << " " << *reading.confidence;
    for (const auto* spans : {&reading.characters, &reading.words}) {
        text << "|";
        for (const htr::Span& span : *spans) {
            text << span.text << "\t" << span.start << "\t" << span.end << "\t" << span.confidence << "\t";
        }
    }
    return text.str();
}

// The text of labels that are given as their characters.
std::string Text(const htr::Card& card, const std::string& characters) {
    const htr::Charset charset(card);
    std::vector<std::int32_t> labels;
    const std::u32string codes = htr::FromUtf8(characters).value();
    for (const char32_t character : codes) {
        labels.push_back(std::int32_t(charset.characters().find(character)) + 1);
    }
    return charset.Decode(labels.data(), labels.size());
}

std::string Kinds(int first, int last) {
    std::string found;
    for (int code = first; code <= last; ++code) {
        const char32_t character = char32_t(code);
        found += std::to_string(int(htr::BidiClassOf(character))) + (htr::IsLetter(character) ? "L" : "-") +
                 (htr::IsSpace(character) ? "S" : "-") + std::to_string(std::uint32_t(htr::MirrorImage(character))) + " ";
    }
    return found;
}

std::string Run(const std::string& kind, char** words) {
    const auto number = [&](int place) { return std::stoi(words[place]); };
    if (kind == "meta") {
        return Describe(CardIn(words[0]));
    }
    if (kind == "engine") {
        return Engine(words[0]);
    }
    if (kind == "sha256") {
        return htr::Sha256(Bytes(words[0]));
    }
    if (kind == "quota") {
        return std::to_string(htr::CpuQuota(words[0], words[1]));
    }
    if (kind == "cores") {
        return std::to_string(htr::AvailableCores());
    }
    if (kind == "greedy") {
        htr::Options options;
        options.decoder = kind;
        const htr::Language none({}, {});
        return Decode(words[0], number(1), number(2), *htr::Decoder::Create(options, none), 1);
    }
    if (kind == "sure") {
        return Sure(words[0], number(1), words);
    }
    if (kind == "page") {
        return htr::ToUtf8(htr::Charset(CardIn(words[0])).OnPage(htr::FromUtf8(words[1]).value()));
    }
    if (kind == "text") {
        return Text(CardIn(words[0]), words[1]);
    }
    if (kind == "nfc") {
        return htr::ToUtf8(htr::Composed(htr::FromUtf8(words[0]).value()));
    }
    if (kind == "kinds") {
        return Kinds(number(0), number(1));
    }
    if (kind == "beam") {
        return Beam(words[0], number(1), words);
    }
    const htr::Image image = Picture(words[0], number(4), number(5));
    return Write(kind == "scale" ? htr::Scale(image, number(1), number(2))
                                 : htr::ResizeToHeight(image, number(1), number(2), words[0]),
                 words[3]);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string kind = argc > 1 ? argv[1] : "";
    const std::map<std::string, int> words{{"scale", 6}, {"line", 6}, {"greedy", 3}, {"beam", 10}, {"quota", 2},
                                          {"sure", 11}, {"page", 2}, {"text", 2},  {"kinds", 2}};
    const int count = words.count(kind) ? words.at(kind) : 1;
    for (int i = 2; i + count <= argc; i += count) {
        try {
            const std::string found = Run(kind, argv + i);
            std::cout << "ok " << found << "\n";
        } catch (const htr::Error& error) {
            std::cout << "error: " << error.what() << "\n";
        }
    }
}

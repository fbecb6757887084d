// The layout is that of htrcompress/decoding/ngram_file.py: a header of `key=value` lines, an empty line, and the arrays,
// little-endian, each from a multiple of 64 bytes on.

#include "ngram_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "htr/htr.h"
#include "metadata.h"
#include "numbers.h"
#include "utf8.h"

namespace htr {
namespace {

constexpr std::string_view kMagic = "htrcompress-ngram 1\n";
constexpr std::size_t kLongestHeader = 1 << 20;
constexpr std::size_t kAlignment = 64;
constexpr std::int64_t kLargestOrder = 64;
constexpr char kAgain[] = ": make the file again";

// A number of an entry, or -1.
std::int64_t Count(const Metadata& entries, const std::string& key) {
    const auto found = entries.find(key);
    if (found == entries.end() || found->second.empty() || found->second.size() > 13 ||
        found->second.find_first_not_of("0123456789") != std::string::npos) {
        return -1;
    }
    return std::stoll(found->second);
}

}  // namespace

struct NGramFile::Mapping {
    explicit Mapping(const std::filesystem::path& path) {
        const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is not waited for
        struct stat status {};
        if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
            if (file >= 0) {
                close(file);
            }
            throw Error("cannot read the language model " + path.string());
        }
        size = std::size_t(status.st_size);
        void* mapped = size == 0 ? MAP_FAILED : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        close(file);
        bytes = mapped == MAP_FAILED ? nullptr : static_cast<const char*>(mapped);
        size = bytes ? size : 0;
    }
    ~Mapping() {
        if (bytes) {
            munmap(const_cast<char*>(bytes), size);
        }
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    const char* bytes = nullptr;
    std::size_t size = 0;
};

NGramFile::NGramFile(const std::filesystem::path& path)
    : name_("the language model " + path.string()), mapping_(std::make_shared<Mapping>(path)) {
    const std::string_view all(mapping_->bytes, mapping_->size), head = all.substr(0, kLongestHeader);
    const std::size_t end = head.find("\n\n");
    if (head.substr(0, kMagic.size()) != kMagic || end == head.npos) {
        throw Error(path.string() + " is not a compiled language model: make one with python -m htrcompress.lm");
    }
    entries_ = ParseMetadata(std::string(head.substr(kMagic.size(), end + 1 - kMagic.size())), name_);
    const auto charset = SplitPrintable(entries_["charset"]);
    if (!charset || charset->empty()) {
        throw Error("the header of " + name_ + " is damaged" + kAgain);
    }
    charset_ = *charset;
    if (direction() != "ltr" && direction() != "rtl") {
        throw Error("the header of " + name_ + " is damaged" + kAgain);
    }
    view_.begin = Count(entries_, "begin");
    std::size_t offset = end + 2;
    Take("backoff_state", view_.backoff_state, offset);
    Take("backoff", view_.backoff, offset);
    Take("arc_start", view_.arc_start, offset);
    Take("arc_symbol", view_.arc_symbol, offset);
    Take("arc_log_probability", view_.arc_log_probability, offset);
    Take("arc_next", view_.arc_next, offset);
    if (!Fits()) {
        throw Error(name_ + " is damaged" + kAgain);
    }
    for (const char* name : {"weight", "bonus", "words_bonus"}) {
        if (!std::isfinite(Setting(name, 0))) {
            throw Error("the " + std::string(name) + " in " + name_ + " is not a finite number: tune it again");
        }
    }
}

// Finds the next array in the file.
template <class Value>
void NGramFile::Take(const char* name, const Value*& array, std::size_t& offset) {
    const std::int64_t count = Count(entries_, std::string("array.") + name);
    offset += (kAlignment - offset % kAlignment) % kAlignment;
    if (count < 1 || offset > mapping_->size || std::size_t(count) > (mapping_->size - offset) / sizeof(Value)) {
        throw Error(name_ + " is truncated" + kAgain);
    }
    array = reinterpret_cast<const Value*>(mapping_->bytes + offset);
    offset += std::size_t(count) * sizeof(Value);
}

// Whether every state falls back to the empty history in fewer steps than the model's order, as in ngram_file.py.
bool NGramFile::Ends(std::int64_t states) const {
    const std::int64_t order = Count(entries_, "order");
    std::vector<std::uint8_t> depth(std::size_t(states), 0);
    bool ends = order >= 1 && order <= kLargestOrder;
    for (std::int64_t state = 1; state < states && ends; ++state) {
        depth[std::size_t(state)] = std::uint8_t(depth[std::size_t(view_.backoff_state[state])] + 1);
        ends = depth[std::size_t(state)] <= std::max<std::int64_t>(order - 1, 1);
    }
    return ends;
}

// Whether no array points outside another, so that a search may follow them.
bool NGramFile::Fits() const {
    const auto count = [&](const char* name) { return Count(entries_, std::string("array.") + name); };
    const std::int64_t states = count("backoff_state"), arcs = count("arc_symbol");
    const std::int64_t symbols = std::int64_t(charset_.size() + kSpecial);
    bool fits = count("backoff") == states && count("arc_start") == states + 1 &&
                count("arc_log_probability") == arcs && count("arc_next") == arcs && view_.begin >= 0 &&
                view_.begin < states && states <= INT32_MAX;
    if (!fits || view_.arc_start[0] != 0 || view_.arc_start[states] != arcs || view_.backoff_state[0] != 0) {
        return false;
    }
    for (std::int64_t state = 0; state < states; ++state) {
        const std::int32_t shorter = view_.backoff_state[state];
        fits = fits && shorter >= 0 && (state == 0 || shorter < state) && std::isfinite(view_.backoff[state]) &&
               view_.arc_start[state] <= view_.arc_start[state + 1];
    }
    for (std::int64_t arc = 0; arc < arcs; ++arc) {
        fits = fits && view_.arc_symbol[arc] < symbols && std::isfinite(view_.arc_log_probability[arc]) &&
               view_.arc_next[arc] >= 0 && view_.arc_next[arc] < states;
    }
    return fits && Ends(states);
}

std::vector<std::uint32_t> NGramFile::Symbols(const std::vector<std::string>& charset) const {
    std::map<std::string, std::uint32_t> known;
    for (std::size_t i = 0; i < charset_.size(); ++i) {
        known.emplace(charset_[i], std::uint32_t(i) + kSpecial);
    }
    std::vector<std::uint32_t> symbols{0};  // the blank's is never read
    for (const std::string& character : charset) {
        const auto found = known.find(character);
        symbols.push_back(found == known.end() ? kUnknown : found->second);
    }
    return symbols;
}

ScorerView NGramFile::View(double weight, const std::uint32_t* symbols) const {
    ScorerView view = view_;
    view.weight = weight;
    view.symbols = symbols;
    return view;
}

double NGramFile::Setting(const std::string& name, double otherwise) const {
    const auto found = entries_.find("setting." + name);
    if (found == entries_.end()) {
        return otherwise;
    }
    const std::vector<double> numbers = ParseNumbers(found->second);
    return numbers.size() == 1 ? numbers[0] : std::nan("");
}

std::string NGramFile::Entry(const std::string& key, const std::string& otherwise) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? otherwise : found->second;
}

}  // namespace htr

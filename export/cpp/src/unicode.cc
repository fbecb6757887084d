#include "unicode.h"

#include <algorithm>

namespace htr {
namespace {

constexpr char32_t kFirstCombining = 0x300;  // texts of lesser characters are in normal form C
constexpr char32_t kHangul = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

// The range that holds a character; null if none does.
template <class Row>
const Row* Find(const Table<Row>& table, char32_t code) {
    const Row* row =
        std::partition_point(table.begin(), table.end(), [&](const Row& range) { return range.last < code; });
    return row != table.end() && row->first <= code ? row : nullptr;
}

int CombiningClass(char32_t code) {
    const CombiningRange* row = Find(kCombiningClasses, code);
    return row == nullptr ? 0 : row->value;
}

void Decompose(char32_t code, std::u32string& parts) {
    if (code >= kHangul && code < kHangul + kLeads * kVowels * kTails) {
        const char32_t place = code - kHangul;
        parts += {kLead + place / (kVowels * kTails), kVowel + place / kTails % kVowels};
        if (place % kTails != 0) {
            parts += kTail + place % kTails;
        }
        return;
    }
    for (const Table<Decomposition>* table : {&kCompositions, &kOtherDecompositions}) {
        const Decomposition* row = std::partition_point(
            table->begin(), table->end(), [&](const Decomposition& entry) { return entry.whole < code; });
        if (row != table->end() && row->whole == code) {
            Decompose(row->first, parts);
            if (row->second != 0) {
                Decompose(row->second, parts);
            }
            return;
        }
    }
    parts += code;
}

// The character that two are put together to; 0 if there is none.
char32_t Compose(char32_t first, char32_t second) {
    if (first >= kLead && first < kLead + kLeads && second >= kVowel && second < kVowel + kVowels) {
        return kHangul + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
    }
    if (first >= kHangul && first < kHangul + kLeads * kVowels * kTails && (first - kHangul) % kTails == 0 &&
        second > kTail && second < kTail + kTails) {
        return first + (second - kTail);
    }
    const Decomposition* row =
        std::find_if(kCompositions.begin(), kCompositions.end(), [&](const Decomposition& entry) {
            return entry.first == first && entry.second == second;
        });
    return row == kCompositions.end() ? 0 : row->whole;
}

// Sorts the marks behind each letter by their classes.
void Order(std::u32string& text) {
    for (auto start = text.begin(); start != text.end();) {
        if (CombiningClass(*start) == 0) {
            ++start;
            continue;
        }
        const auto end = std::find_if(start, text.end(), [](char32_t code) { return CombiningClass(code) == 0; });
        std::stable_sort(start, end, [](char32_t a, char32_t b) { return CombiningClass(a) < CombiningClass(b); });
        start = end;
    }
}

}  // namespace

bool IsLetter(char32_t code) { return Find(kLetters, code) != nullptr; }

bool IsSpace(char32_t code) {
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
           code == 0x202F || code == 0x205F || code == 0x3000;
}

BidiClass BidiClassOf(char32_t code) {
    const BidiRange* row = Find(kBidiClasses, code);
    return row == nullptr ? BidiClass::kON : row->value;
}

char32_t MirrorImage(char32_t code) {
    for (const MirrorPair& pair : kMirrorPairs) {
        if (code == pair.one || code == pair.other) {
            return code == pair.one ? pair.other : pair.one;
        }
    }
    return code;
}

std::u32string Composed(std::u32string_view text) {
    if (std::all_of(text.begin(), text.end(), [](char32_t code) { return code < kFirstCombining; })) {
        return std::u32string(text);
    }
    std::u32string parts, composed;
    for (const char32_t code : text) {
        Decompose(code, parts);
    }
    Order(parts);
    std::size_t starter = 0;  // where the last letter is, which marks may join
    int before = 256;         // class of the mark behind it that did not; none joins across another of its class
    for (const char32_t code : parts) {
        const int now = CombiningClass(code);
        const bool open = !composed.empty() && CombiningClass(composed[starter]) == 0 &&
                          (composed.size() == starter + 1 || (before < now && before != 0));
        const char32_t joined = open ? Compose(composed[starter], code) : 0;
        if (joined != 0) {
            composed[starter] = joined;
            continue;
        }
        if (now == 0) {
            starter = composed.size();
        }
        before = now;
        composed += code;
    }
    return composed;
}

}  // namespace htr

// What the library knows of Unicode. The tables are sorted by code point; tools/unicode_tables.py writes them.

#pragma once

namespace htr {

// Bidirectional classes (UAX #9) of what is written; all else is neutral, `kON`.
enum class BidiClass : unsigned char { kL, kR, kAL, kEN, kES, kET, kAN, kCS, kNSM, kBN, kWS, kON };

struct CodeRange {
    char32_t first, last;
};

struct BidiRange {
    char32_t first, last;
    BidiClass value;
};

// Characters that mirror each other, such as brackets.
struct MirrorPair {
    char32_t one, other;
};

struct CombiningRange {
    char32_t first, last;
    int value;
};

// A character and the one or two that it is made of; `second` is 0 where it is one.
struct Decomposition {
    char32_t whole, first, second;
};

template <class Row>
struct Table {
    const Row* first;
    const Row* last;

    const Row* begin() const { return first; }
    const Row* end() const { return last; }
};

extern const Table<CodeRange> kLetters;
extern const Table<BidiRange> kBidiClasses;
extern const Table<MirrorPair> kMirrorPairs;
extern const Table<CombiningRange> kCombiningClasses;
extern const Table<Decomposition> kCompositions;        // those that normal form C puts together again
extern const Table<Decomposition> kOtherDecompositions;  // those that it does not

}  // namespace htr

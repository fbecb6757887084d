// The Unicode bidirectional algorithm (UAX #9) for one line without embeddings: rules W1 to W7, N1, N2, I1, I2, L1, L2
// and L4. A mark that combines stays behind its character, which the rules alone move.

#include "bidi.h"

#include <algorithm>
#include <vector>

#include "unicode.h"

namespace htr {
namespace {

using D = BidiClass;

// A character with the marks behind it.
struct Cluster {
    char32_t character;
    std::u32string marks;
    D original, type;
    int level = 0;
};

std::vector<Cluster> Clusters(std::u32string_view text) {
    std::vector<Cluster> clusters;
    for (const char32_t code : text) {
        const D type = BidiClassOf(code);
        if (!clusters.empty() && (type == D::kNSM || type == D::kBN)) {
            clusters.back().marks += code;
        } else {
            const D taken = type == D::kBN ? D::kON : type;
            clusters.push_back({code, {}, taken, taken});
        }
    }
    return clusters;
}

void ResolveWeak(std::vector<Cluster>& line, D base) {
    D strong = base;
    for (Cluster& one : line) {  // W1, W2
        one.type = one.type == D::kNSM ? base : one.type;  // only the first can be a mark
        if (one.type == D::kEN && strong == D::kAL) {
            one.type = D::kAN;
        }
        if (one.type == D::kL || one.type == D::kR || one.type == D::kAL) {
            strong = one.type;
        }
    }
    for (Cluster& one : line) {  // W3
        one.type = one.type == D::kAL ? D::kR : one.type;
    }
    for (std::size_t i = 1; i + 1 < line.size(); ++i) {  // W4
        const D before = line[i - 1].type, after = line[i + 1].type;
        const bool joins = (line[i].type == D::kES && before == D::kEN) ||
                           (line[i].type == D::kCS && (before == D::kEN || before == D::kAN));
        if (joins && before == after) {
            line[i].type = before;
        }
    }
    const auto spread = [](auto begin, auto end) {  // W5, in one direction
        for (auto one = begin; one != end && one + 1 != end; ++one) {
            if (one->type == D::kEN && (one + 1)->type == D::kET) {
                (one + 1)->type = D::kEN;
            }
        }
    };
    spread(line.begin(), line.end());
    spread(line.rbegin(), line.rend());
    strong = base;
    for (Cluster& one : line) {  // W6, W7
        if (one.type == D::kET || one.type == D::kES || one.type == D::kCS) {
            one.type = D::kON;
        } else if (one.type == D::kEN && strong == D::kL) {
            one.type = D::kL;
        }
        if (one.type == D::kL || one.type == D::kR) {
            strong = one.type;
        }
    }
}

// N1 and N2: what is neutral goes with the text on both sides where that is of one direction, else with the line.
void ResolveNeutral(std::vector<Cluster>& line, D base) {
    const auto neutral = [](const Cluster& one) { return one.type == D::kWS || one.type == D::kON; };
    const auto side = [](D type) { return type == D::kAN || type == D::kEN ? D::kR : type; };
    D before = base;
    for (auto one = line.begin(); one != line.end();) {
        if (!neutral(*one)) {
            before = side(one->type);
            ++one;
            continue;
        }
        const auto end = std::find_if_not(one, line.end(), neutral);
        const D after = end == line.end() ? base : side(end->type);
        std::for_each(one, end, [&](Cluster& some) { some.type = before == after ? before : base; });
        one = end;
    }
}

// I1, I2 and L1.
void SetLevels(std::vector<Cluster>& line, int base) {
    for (Cluster& one : line) {
        const int up = base == 0 ? (one.type == D::kL ? 0 : one.type == D::kR ? 1 : 2) : (one.type == D::kR ? 0 : 1);
        one.level = base + up;
    }
    for (auto one = line.rbegin(); one != line.rend() && one->original == D::kWS; ++one) {
        one->level = base;
    }
}

}  // namespace

bool HasRightToLeft(std::u32string_view text) {
    return std::any_of(text.begin(), text.end(), [](char32_t c) {
        return (c >= 0x590 && c <= 0x8FF) || c == 0x200F || (c >= 0xFB1D && c <= 0xFDFF) ||
               (c >= 0xFE70 && c <= 0xFEFC) || (c >= 0x10800 && c <= 0x10FFF) || (c >= 0x1E800 && c <= 0x1EFFF);
    });
}

std::u32string Reordered(std::u32string_view text, bool right_to_left) {
    std::vector<Cluster> line = Clusters(text);
    const D base = right_to_left ? D::kR : D::kL;
    ResolveWeak(line, base);
    ResolveNeutral(line, base);
    SetLevels(line, right_to_left ? 1 : 0);
    for (int level = 2; level > 0; --level) {  // L2
        const auto turned = [&](const Cluster& one) { return one.level >= level; };
        for (auto one = line.begin(); one != line.end();) {
            one = std::find_if(one, line.end(), turned);
            const auto end = std::find_if_not(one, line.end(), turned);
            std::reverse(one, end);
            one = end;
        }
    }
    std::u32string page;
    for (const Cluster& one : line) {
        page += one.level % 2 == 1 ? MirrorImage(one.character) : one.character;  // L4
        page += one.marks;
    }
    return page;
}

}  // namespace htr

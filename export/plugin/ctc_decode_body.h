// Greedy CTC decoding of one line by one block of threads: the body of the kernel.
//
// Compiled by nvcc for the GPU (ctc_decode.cu) and by any C++17 compiler for the CPU (ctc_decode_host.cpp), so that
// the code that runs in production is tested against htrcompress/decoding/reference.py on every machine.
//
// The body is a sequence of phases. Inside a phase the threads are independent; they talk through `Shared`, and
// between two phases the block waits for all its threads. On the CPU a phase is a loop over the threads.
// A line is taken in tiles of kTile frames, and kLanes threads share a frame.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define HTR_BODY __device__ inline
#else
#define HTR_BODY inline
#endif

namespace htr {

constexpr int kLanes = 8;  // eight neighbouring FP32 logits are one 32-byte sector of memory
constexpr int kTile = 64;
constexpr int kThreads = kLanes * kTile;
constexpr int kBlank = 0;
constexpr int kPadding = -1;

// IEEE half precision as its bits, the same type on both sides.
struct Half {
    std::uint16_t bits;
};

HTR_BODY float to_float(float value) { return value; }

HTR_BODY float to_float(Half value) {
#ifdef __CUDACC__
    return __half2float(__ushort_as_half(value.bits));
#else
    const int exponent = value.bits >> 10 & 31;
    const int fraction = value.bits & 1023;
    float magnitude = std::ldexp(float(1024 + fraction), exponent - 25);
    if (exponent == 0) {
        magnitude = std::ldexp(float(fraction), -24);
    } else if (exponent == 31) {
        magnitude = fraction == 0 ? INFINITY : NAN;
    }
    return value.bits >> 15 ? -magnitude : magnitude;
#endif
}

// One line and where its result goes. `logits` is (steps, classes) row by row, of which `frames` rows count.
template <class Logit>
struct Line {
    const Logit* logits;
    int frames;
    int steps;
    int classes;
    std::int32_t* labels;  // (steps)
    std::int32_t* length;  // (1)
    float* score;          // (1)
};

// The results of row `row` of a batch; a count of frames outside 0..steps is brought inside.
template <class Logit>
HTR_BODY Line<Logit> line_of_batch(const Logit* logits, const std::int32_t* frames, int row, int steps, int classes,
                                   std::int32_t* labels, std::int32_t* lengths, float* scores) {
    const int count = frames[row] < 0 ? 0 : frames[row] > steps ? steps : frames[row];
    const std::size_t first = std::size_t(row) * steps;
    return {logits + first * classes, count, steps, classes, labels + first, lengths + row, scores + row};
}

// What the threads of a block tell each other.
struct Shared {
    float value[kThreads];  // a lane's largest logit, later its part of the sum of exponentials
    int label[kThreads];    // where that largest logit stands
    float peak[kTile];      // largest logit of each frame
    int best[kTile + 1];    // best label of each frame of the tile, after that of the frame before the tile
    float score[kTile];     // log-probabilities so far, one sum for each place in a tile
    int length;             // labels emitted before this tile
    int count;              // labels emitted in this tile
};

// Whether the frame at `place` of the tile emits: neither blank nor a repeat of the frame before.
HTR_BODY bool emits(const Shared& shared, int place) {
    return shared.best[place + 1] != kBlank && shared.best[place + 1] != shared.best[place];
}

HTR_BODY void begin(Shared& shared, int thread) {
    if (thread < kTile) {
        shared.score[thread] = 0.0f;
    }
    if (thread == 0) {
        shared.best[0] = kBlank;
        shared.length = 0;
    }
}

// Each lane finds the first of the largest among its classes. As in NumPy a NaN is larger than any number, so a
// broken network shows up as a score of NaN and not as a plausible text.
template <class Logit>
HTR_BODY void scan(const Line<Logit>& line, Shared& shared, int thread, int start) {
    const int frame = start + thread / kLanes;
    const int lane = thread % kLanes;
    if (frame >= line.frames || lane >= line.classes) {
        return;
    }
    const Logit* logits = line.logits + std::size_t(frame) * line.classes;
    float value = to_float(logits[lane]);
    int label = lane;
    for (int c = lane + kLanes; c < line.classes; c += kLanes) {
        const float logit = to_float(logits[c]);
        if (!(logit <= value) && value == value) {
            value = logit;
            label = c;
        }
    }
    shared.value[thread] = value;
    shared.label[thread] = label;
}

// One thread a frame joins what its lanes found; of equal logits the lowest label wins.
template <class Logit>
HTR_BODY void pick(const Line<Logit>& line, Shared& shared, int thread, int start) {
    if (thread >= kTile) {
        return;
    }
    int label = kBlank;  // beyond the line, where nothing is emitted
    if (start + thread < line.frames) {
        const int first = thread * kLanes;
        float value = shared.value[first];
        label = shared.label[first];
        for (int i = first + 1; i < first + kLanes && i - first < line.classes; ++i) {
            const bool both_nan = value != value && shared.value[i] != shared.value[i];
            const bool same = value == shared.value[i] || both_nan;
            const bool larger = value == value && !(shared.value[i] <= value);
            if (larger || (same && shared.label[i] < label)) {
                value = shared.value[i];
                label = shared.label[i];
            }
        }
        shared.peak[thread] = value;
    }
    shared.best[thread + 1] = label;
}

// The lanes of the frames that emit add up exp(logit - peak); other frames need no probability.
template <class Logit>
HTR_BODY void weigh(const Line<Logit>& line, Shared& shared, int thread, int start) {
    const int place = thread / kLanes;
    if (!emits(shared, place)) {
        return;
    }
    const Logit* logits = line.logits + std::size_t(start + place) * line.classes;
    float sum = 0.0f;
    for (int c = thread % kLanes; c < line.classes; c += kLanes) {
        sum += expf(to_float(logits[c]) - shared.peak[place]);
    }
    shared.value[thread] = sum;
}

// One thread a frame counts the labels before its own, which is where its own goes.
template <class Logit>
HTR_BODY void emit(const Line<Logit>& line, Shared& shared, int thread) {
    if (thread >= kTile) {
        return;
    }
    int before = 0;
    for (int place = 0; place < thread; ++place) {
        before += emits(shared, place);
    }
    if (emits(shared, thread)) {
        float sum = 0.0f;
        for (int lane = 0; lane < kLanes; ++lane) {
            sum += shared.value[thread * kLanes + lane];
        }
        shared.score[thread] -= logf(sum);
        line.labels[shared.length + before] = shared.best[thread + 1];
    }
    if (thread == kTile - 1) {
        shared.count = before + emits(shared, thread);
    }
}

HTR_BODY void advance(Shared& shared, int thread) {
    if (thread == 0) {
        shared.length += shared.count;
        shared.best[0] = shared.best[kTile];
    }
}

template <class Logit>
HTR_BODY void finish(const Line<Logit>& line, const Shared& shared, int thread) {
    for (int i = shared.length + thread; i < line.steps; i += kThreads) {
        line.labels[i] = kPadding;
    }
    if (thread == 0) {
        float sum = 0.0f;
        for (int place = 0; place < kTile; ++place) {
            sum += shared.score[place];
        }
        *line.length = shared.length;
        *line.score = shared.length == 0 ? -INFINITY : sum / float(shared.length);
    }
}

// Decodes a line. `each(f)` calls f(thread) for every thread of the block and returns when all are done.
template <class Logit, class Each>
HTR_BODY void decode_line(const Line<Logit>& line, Shared& shared, const Each& each) {
    each([&](int thread) { begin(shared, thread); });
    for (int start = 0; start < line.frames; start += kTile) {
        each([&](int thread) { scan(line, shared, thread, start); });
        each([&](int thread) { pick(line, shared, thread, start); });
        each([&](int thread) { weigh(line, shared, thread, start); });
        each([&](int thread) { emit(line, shared, thread); });
        each([&](int thread) { advance(shared, thread); });
    }
    each([&](int thread) { finish(line, shared, thread); });
}

}  // namespace htr

// Checks the CTC kernel against a plain loop on this machine's GPU, then times it. Any NVIDIA GPU will do.
//
//   ctc_check [BATCH STEPS CLASSES]      the shape to time, by default 32 256 100
//
// Exit status: 0 all equal, 1 a difference, 2 it could not run.

#include <cuda_fp16.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "ctc_compare.h"
#include "ctc_decode.h"

namespace {

constexpr int kWarmUp = 20;
constexpr int kRounds = 200;

void require(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
    }
}

// An array in device memory.
template <class T>
class Device {
   public:
    explicit Device(std::size_t count) : count_(count) {
        const std::size_t bytes = std::max<std::size_t>(count, 1) * sizeof(T);
        require(cudaMalloc(reinterpret_cast<void**>(&data_), bytes), "cudaMalloc");
    }
    explicit Device(const std::vector<T>& values) : Device(values.size()) {
        require(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "copy to the GPU");
    }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    ~Device() { cudaFree(data_); }

    T* get() const { return data_; }
    std::vector<T> read() const {
        std::vector<T> values(count_);
        require(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "copy from the GPU");
        return values;
    }

   private:
    T* data_ = nullptr;
    std::size_t count_;
};

struct Decoded {
    std::vector<std::int32_t> labels, lengths;
    std::vector<float> scores;
};

struct Problem {
    int batch, steps, classes;
    std::vector<float> logits;
    std::vector<std::int32_t> frames;

    // Random logits in steps of a quarter: exact in FP16, and with ties.
    Problem(int batch, int steps, int classes, unsigned seed) : batch(batch), steps(steps), classes(classes) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal(0.0f, 3.0f);
        logits.resize(std::size_t(batch) * steps * classes);
        for (std::size_t i = 0; i < logits.size(); ++i) {
            const float blank_is_likely = i % classes == 0 ? 4.0f : 0.0f;
            logits[i] = std::round(4.0f * (normal(random) + blank_is_likely)) / 4.0f;
        }
        std::uniform_int_distribution<int> length(0, steps);
        for (int row = 0; row < batch; ++row) {
            frames.push_back(row == 0 ? steps : length(random));
        }
    }
};

// The decode as a plain loop, written apart from the kernel.
Decoded plain_loop(const Problem& problem) {
    Decoded result{std::vector<std::int32_t>(std::size_t(problem.batch) * problem.steps, -1),
                   std::vector<std::int32_t>(problem.batch, 0), std::vector<float>(problem.batch, 0.0f)};
    for (int row = 0; row < problem.batch; ++row) {
        int before = 0;
        double total = 0.0;
        for (int frame = 0; frame < problem.frames[row]; ++frame) {
            const std::size_t place = std::size_t(row) * problem.steps + frame;
            const float* logits = &problem.logits[place * problem.classes];
            const int best = int(std::max_element(logits, logits + problem.classes) - logits);
            if (best != 0 && best != before) {
                double sum = 0.0;
                for (int c = 0; c < problem.classes; ++c) {
                    sum += std::exp(double(logits[c]) - logits[best]);
                }
                total -= std::log(sum);
                result.labels[std::size_t(row) * problem.steps + result.lengths[row]++] = best;
            }
            before = best;
        }
        result.scores[row] = result.lengths[row] ? float(total / result.lengths[row]) : -INFINITY;
    }
    return result;
}

std::vector<__half> halves(const std::vector<float>& values) {
    std::vector<__half> result(values.size());
    std::transform(values.begin(), values.end(), result.begin(), [](float value) { return __float2half(value); });
    return result;
}

// A problem on the GPU, ready to be launched any number of times.
template <class Logit>
struct Launch {
    const Problem& problem;
    Device<Logit> logits;
    Device<std::int32_t> frames, labels, lengths;
    Device<float> scores;

    Launch(const Problem& problem, const std::vector<Logit>& values)
        : problem(problem), logits(values), frames(problem.frames),
          labels(std::size_t(problem.batch) * problem.steps), lengths(problem.batch), scores(problem.batch) {}

    void run() const {
        require(ctc_decode_launch(logits.get(), sizeof(Logit) == 2, frames.get(), problem.batch, problem.steps,
                                  problem.classes, labels.get(), lengths.get(), scores.get(), nullptr), "launch");
    }

    bool equals(const Decoded& expected) const {
        run();
        require(cudaDeviceSynchronize(), "the kernel");
        const std::vector<float> found = scores.read();
        return labels.read() == expected.labels && lengths.read() == expected.lengths &&
               htr::scores_agree(found.data(), expected.scores.data(), found.size());
    }

    // Median time of a launch, in microseconds.
    float time() const {
        cudaEvent_t start, stop;
        require(cudaEventCreate(&start), "cudaEventCreate");
        require(cudaEventCreate(&stop), "cudaEventCreate");
        std::vector<float> times;
        for (int round = 0; round < kWarmUp + kRounds; ++round) {
            require(cudaEventRecord(start), "cudaEventRecord");
            run();
            require(cudaEventRecord(stop), "cudaEventRecord");
            require(cudaEventSynchronize(stop), "the kernel");
            float milliseconds = 0.0f;
            require(cudaEventElapsedTime(&milliseconds, start, stop), "cudaEventElapsedTime");
            times.push_back(1000.0f * milliseconds);
        }
        cudaEventDestroy(start);
        cudaEventDestroy(stop);
        std::sort(times.begin() + kWarmUp, times.end());
        return times[kWarmUp + kRounds / 2];
    }
};

int size_argument(const char* text) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > 1 << 16) {
        throw std::runtime_error(std::string("'") + text + "' is no size: give BATCH STEPS CLASSES from 1 to 65536");
    }
    return int(value);
}

int check(int batch, int steps, int classes) {
    cudaDeviceProp device{};
    require(cudaGetDeviceProperties(&device, 0), "no usable GPU");
    unsigned seed = 0;
    for (int t : {0, 1, 2, 63, 64, 65, 128, 300}) {
        for (int c : {1, 2, 7, 8, 9, 100, 5000}) {
            const Problem problem(5, t, c, ++seed);
            const Decoded expected = plain_loop(problem);
            if (!Launch<float>(problem, problem.logits).equals(expected) ||
                !Launch<__half>(problem, halves(problem.logits)).equals(expected)) {
                std::printf("DIFFERENT from the plain loop at 5 lines, %d frames, %d classes\n", t, c);
                return 1;
            }
        }
    }
    const Problem problem(batch, steps, classes, ++seed);
    const float single = Launch<float>(problem, problem.logits).time();
    const float half = Launch<__half>(problem, halves(problem.logits)).time();
    std::printf("%s: equal to the plain loop\n", device.name);
    std::printf("%d lines, %d frames, %d classes: FP32 %.1f us, FP16 %.1f us (median of %d launches)\n", batch, steps,
                classes, single, half, kRounds);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc != 1 && argc != 4) {
            throw std::runtime_error("usage: ctc_check [BATCH STEPS CLASSES]");
        }
        const bool given = argc == 4;
        return check(given ? size_argument(argv[1]) : 32, given ? size_argument(argv[2]) : 256,
                     given ? size_argument(argv[3]) : 100);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}

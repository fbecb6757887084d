// The CTC kernel and its launcher; the body is in ctc_decode_body.h.
//
//   nvcc -O3 -std=c++17 -arch=native -c ctc_decode.cu
//
// Never with --use_fast_math: the scores are compared with those of the other runtimes.

#include "ctc_decode.h"
#include "ctc_decode_body.h"

namespace {

struct DeviceBlock {
    template <class Phase>
    __device__ void operator()(const Phase& phase) const {
        phase(int(threadIdx.x));
        __syncthreads();
    }
};

template <class Logit>
__global__ void __launch_bounds__(htr::kThreads)
    decode(const Logit* __restrict__ logits, const std::int32_t* __restrict__ frames, int steps, int classes,
           std::int32_t* __restrict__ labels, std::int32_t* __restrict__ lengths, float* __restrict__ scores) {
    __shared__ htr::Shared shared;
    const auto line = htr::line_of_batch(logits, frames, int(blockIdx.x), steps, classes, labels, lengths, scores);
    htr::decode_line(line, shared, DeviceBlock());
}

}  // namespace

extern "C" cudaError_t ctc_decode_launch(const void* logits, int half, const std::int32_t* frames, int batch,
                                         int steps, int classes, std::int32_t* labels, std::int32_t* lengths,
                                         float* scores, cudaStream_t stream) {
    if (batch < 0 || steps < 0 || classes < 1) {
        return cudaErrorInvalidValue;
    }
    if (batch == 0) {  // a grid of no blocks is an error to CUDA
        return cudaSuccess;
    }
    if (half) {
        decode<<<batch, htr::kThreads, 0, stream>>>(static_cast<const htr::Half*>(logits), frames, steps, classes,
                                                    labels, lengths, scores);
    } else {
        decode<<<batch, htr::kThreads, 0, stream>>>(static_cast<const float*>(logits), frames, steps, classes, labels,
                                                    lengths, scores);
    }
    return cudaGetLastError();
}

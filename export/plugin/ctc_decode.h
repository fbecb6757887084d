// Greedy CTC decoding on the GPU without TensorRT: one launch on a stream, no workspace, no synchronisation.
//
// The result is that of `greedy` in htrcompress/decoding/reference.py: the best label of every frame (of equal logits
// the lowest label), repeats collapsed, blanks (label 0) dropped.

#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

// All pointers are in device memory.
//   logits      (batch, steps, classes), FP16 if `half` is not 0, else FP32; not normalised
//   frames      (batch), valid frames of each line; what lies beyond them is ignored
//   labels      (batch, steps), padded with -1
//   lengths     (batch), labels of each line
//   scores      (batch), mean log-probability of the labels at their first frames; -inf where there are none
// Returns cudaErrorInvalidValue if a size is negative or there are no classes, else the status of the launch.
extern "C" cudaError_t ctc_decode_launch(const void* logits, int half, const std::int32_t* frames, int batch,
                                         int steps, int classes, std::int32_t* labels, std::int32_t* lengths,
                                         float* scores, cudaStream_t stream);

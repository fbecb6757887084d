// Memory and a stream of the GPU, released with their owners.

#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

#include "htr/htr.h"

namespace htr {

// Turns a failure of CUDA into an error.
inline void CheckCuda(cudaError_t status, const char* what) {
    if (status != cudaSuccess) {
        throw Error(std::string("CUDA failed to ") + what + ": " + cudaGetErrorString(status));
    }
}

// Device memory that grows as needed.
class CudaBuffer {
   public:
    CudaBuffer() = default;
    CudaBuffer(const CudaBuffer&) = delete;
    CudaBuffer& operator=(const CudaBuffer&) = delete;
    ~CudaBuffer() { cudaFree(data_); }

    void* Reserve(std::size_t bytes) {
        if (bytes > bytes_) {
            cudaFree(data_);
            data_ = nullptr;
            bytes_ = 0;
            CheckCuda(cudaMalloc(&data_, bytes), "allocate memory; a smaller batch may pass");
            bytes_ = bytes;
        }
        return data_;
    }

    void* get() const { return data_; }

   private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

struct CudaStreamDeleter {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using CudaStream = std::unique_ptr<CUstream_st, CudaStreamDeleter>;

inline CudaStream MakeCudaStream() {
    cudaStream_t stream = nullptr;
    CheckCuda(cudaStreamCreate(&stream), "make a stream");
    return CudaStream(stream);
}

}  // namespace htr

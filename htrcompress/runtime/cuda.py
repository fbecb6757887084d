"""A CUDA stream and device memory, through cuda-python."""

from typing import Any

from numpy.typing import NDArray

from htrcompress.errors import HtrError, Unavailable, missing_extra
from htrcompress.runtime.engine_file import EXTRA


class Cuda:
    """A stream, and the memory that was allocated with it until `close` frees both.

    Args:
        runtime: the TensorRT that they are for, whose extra holds cuda-python.

    Raises:
        Unavailable: cuda-python is not installed, or there is no usable GPU.
    """

    def __init__(self, runtime: str) -> None:
        try:
            from cuda.bindings import runtime as api
        except ImportError:
            raise missing_extra("cuda-python", EXTRA[runtime]) from None
        self.api = api
        self._allocated: set[int] = set()
        self.stream: int | None = int(self._call("cudaStreamCreate"))

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            status, *results = getattr(self.api, name)(*arguments)
        except RuntimeError as error:  # no driver
            raise Unavailable(f"there is no usable NVIDIA GPU here: {error}") from None
        if status != self.api.cudaError_t.cudaSuccess:
            reason = self.api.cudaGetErrorString(status)[1].decode()
            if name == "cudaStreamCreate":  # the first call
                raise Unavailable(f"there is no usable NVIDIA GPU here: {reason}")
            raise HtrError(f"the GPU cannot be used: {name} says {reason}")
        return results[0] if results else None

    def allocate(self, size: int) -> int:
        """The address of new device memory of so many bytes."""
        memory = int(self._call("cudaMalloc", size))
        self._allocated.add(memory)
        return memory

    def free(self, memory: int) -> None:
        """Gives back what `allocate` gave."""
        self._allocated.remove(memory)
        self._call("cudaFree", memory)

    def upload(self, memory: int, array: NDArray[Any]) -> None:
        """Copies a contiguous array to the device."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpy", memory, array.ctypes.data, array.nbytes, kind)

    def wait(self) -> None:
        """Returns when all work on the stream is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def download(self, array: NDArray[Any], memory: int) -> None:
        """Fills a contiguous array from the device."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, memory, array.nbytes, kind)

    def close(self) -> None:
        """Frees the stream and all memory; may be called twice."""
        for memory in list(self._allocated):
            self.free(memory)
        if self.stream is not None:
            self._call("cudaStreamDestroy", self.stream)
            self.stream = None

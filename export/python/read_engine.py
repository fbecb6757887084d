"""Reads line images with an engine, one TensorRT call after another: a start for programs that run TensorRT themselves.

    pip install htrcompress tensorrt cuda-python    # plain htrcompress, without torch, for pixels and characters
    python read_engine.py model.engine LINE.png...

`htrcompress.load("model.engine").read(images)` does the same, in batches that fit the engine.
For an engine of TensorRT-RTX import `tensorrt_rtx` instead. An engine is code: load only those that you trust.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from cuda.bindings import runtime as cuda

from htrcompress.image import pad, resize_to_height
from htrcompress.image_files import load_grey
from htrcompress.runtime.engine_file import read_document, read_plan

DTYPES = {"labels": np.int32, "lengths": np.int32}  # the other outputs, scores and logits, are float32


def call(function: Any, *arguments: Any) -> Any:
    """Calls cuda-python, whose functions return a status and their result."""
    status, *results = function(*arguments)
    if status != cuda.cudaError_t.cudaSuccess:
        raise RuntimeError(cuda.cudaGetErrorString(status)[1].decode())
    return results[0] if results else None


def read(model: Path, images: list[Path]) -> list[str]:
    """The texts of some images, as one batch; the engine must have been exported for batches of that size."""
    card, built = read_document(model)
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(read_plan(model, built))
    context, stream = engine.create_execution_context(), call(cuda.cudaStreamCreate)
    lines = [resize_to_height(load_grey(image), card.height, card.max_width, str(image)) for image in images]
    arrays: dict[str, Any] = dict(zip(("pixels", "widths"), pad(lines), strict=True))
    for name, array in arrays.items():
        context.set_input_shape(name, array.shape)
    memory = {}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        given = name in arrays
        arrays.setdefault(name, np.empty(tuple(context.get_tensor_shape(name)), DTYPES.get(name, np.float32)))
        memory[name] = call(cuda.cudaMalloc, arrays[name].nbytes)
        if given:
            call(cuda.cudaMemcpy, memory[name], arrays[name].ctypes.data, arrays[name].nbytes, 1)  # host to device
        context.set_tensor_address(name, int(memory[name]))
    context.execute_async_v3(int(stream))
    call(cuda.cudaStreamSynchronize, stream)
    for name in ("labels", "lengths"):
        call(cuda.cudaMemcpy, arrays[name].ctypes.data, memory[name], arrays[name].nbytes, 2)  # device to host
    for address in memory.values():
        call(cuda.cudaFree, address)
    characters = card.characters()
    rows = zip(arrays["labels"].tolist(), arrays["lengths"].tolist(), strict=True)
    return [characters.decode(labels[:length]) for labels, length in rows]


if __name__ == "__main__":
    paths = [Path(path) for path in sys.argv[1:]]
    for path, text in zip(paths[1:], read(paths[0], paths[1:]), strict=True):
        print(path, text, sep="\t")

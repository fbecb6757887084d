"""What this machine can do at most, measured: large matrix products in FP32, BF16 and INT8, and copying memory.

A network's speed is compared with these, since a processor's data sheet knows neither the other users of the machine
nor the clock that wide instructions leave.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from htrcompress.runtime.onnx_session import open_session

SIDE = 1536
"""Rows and columns of the matrices: 9 MiB each in FP32, more than the caches of a core."""
COPIED = 1 << 26
"""Numbers of 4 bytes that are copied: 256 MiB, more than any cache."""
TRIES = 5


@dataclass(frozen=True)
class Peaks:
    """The best of a few tries.

    Attributes:
        gflops: arithmetic to thousand million operations a second, two for each multiply-add.
        copy_gb: thousand million bytes a second that are read and written by copying.
    """

    gflops: dict[str, float]
    copy_gb: float


def measure_peaks(threads: int) -> Peaks:
    """Measures a CPU on so many threads: PyTorch in FP32 and BF16, ONNX Runtime in INT8."""
    import torch

    from htrcompress.models.threads import set_threads

    set_threads(threads)
    operations = 2 * SIDE**3 / 1e9
    a = torch.randn(SIDE, SIDE)
    b, out = torch.randn_like(a), torch.empty_like(a)
    low, other, into = a.bfloat16(), b.bfloat16(), out.bfloat16()
    many, copy = torch.zeros(COPIED), torch.zeros(COPIED)
    session, inputs = _int8_product(threads)
    gflops = {
        "FP32": operations / _fastest(lambda: torch.mm(a, b, out=out)),
        "BF16": operations / _fastest(lambda: torch.mm(low, other, out=into)),
        "INT8": operations / _fastest(lambda: session.run(None, inputs)),
    }
    return Peaks(gflops, 2 * 4 * COPIED / 1e9 / _fastest(lambda: copy.copy_(many)))


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest try, after one to warm up."""
    seconds = []
    for _ in range(TRIES + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _int8_product(threads: int) -> tuple[Any, dict[str, np.ndarray]]:
    """A graph of one product of uint8 with constant int8, and what goes into it."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.integers(-64, 64, (SIDE, SIDE)).astype(np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [SIDE, SIDE])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session, _ = open_session(model.SerializeToString(), "the product of two matrices", "cpu", threads)
    return session, {"a": random.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)}

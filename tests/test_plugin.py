"""The CUDA decode of `export/plugin` gives what the NumPy reference gives; the kernel's own code runs on the CPU."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import PLUGIN, passes, sources
from numpy.typing import NDArray
from sharing import Shared

from htrcompress.decoding import reference

BLANK_LOGIT = 4.0

Decoded = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
Decoder = Callable[..., Decoded]


@pytest.fixture(scope="session")
def host(shared: Shared) -> ctypes.CDLL:
    """The part of the plugin that compiles for the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    options = "-O2 -std=c++17 -Wall -Wextra -Werror -shared -fPIC".split()

    def make(folder: Path) -> None:
        passes("g++", *options, PLUGIN / "ctc_decode_host.cpp", "-o", folder / "libhtr_ctc_host.so")

    return ctypes.CDLL(str(shared("plugin-host", make, [*sources(PLUGIN), *options]) / "libhtr_ctc_host.so"))


@pytest.fixture(scope="session")
def decoder(host: ctypes.CDLL) -> Decoder:
    """`decoder(logits, frames, backwards=0)`: the kernel's body, compiled for the CPU."""
    function = host.ctc_decode_host
    function.restype = None

    def decode(logits: NDArray, frames: NDArray, backwards: int = 0) -> Decoded:
        logits, frames = np.ascontiguousarray(logits), np.ascontiguousarray(frames, np.int32)
        batch, steps, classes = logits.shape
        labels = np.full((batch, steps), 77, np.int32)  # every value must be written
        lengths, scores = np.full(batch, 77, np.int32), np.full(batch, 77, np.float32)
        sizes = [ctypes.c_int(size) for size in (batch, steps, classes)]
        result = [ctypes.c_void_p(array.ctypes.data) for array in (labels, lengths, scores)]
        half = ctypes.c_int(logits.dtype == np.float16)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (logits, frames)]
        function(pointers[0], half, pointers[1], *sizes, *result, ctypes.c_int(backwards))
        return labels, lengths, scores

    return decode


def check(decoder: Decoder, logits: NDArray, frames: NDArray) -> None:
    expected = reference.greedy(logits, frames)
    found = decoder(logits, frames)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-5)
    for one, other in zip(found, decoder(logits, frames, backwards=1), strict=True):
        np.testing.assert_array_equal(one, other)


def both(logits: object) -> list[NDArray]:
    """The same logits in both types."""
    return [np.asarray(logits, np.float32), np.asarray(logits, np.float16)]


def test_a_thousand_random_matrices(decoder: Decoder) -> None:
    rng = np.random.default_rng(0)
    for number in range(1000):
        batch, steps, classes = rng.integers(1, 4), rng.integers(1, 150), rng.integers(1, 24)
        logits = 3 * rng.normal(size=(batch, steps, classes))
        logits[..., 0] += rng.choice([0, BLANK_LOGIT])
        if number % 4 == 0:
            logits = np.round(logits)  # many ties
        check(decoder, both(logits)[number % 2], rng.integers(0, steps + 1, batch))


@pytest.mark.parametrize("steps", [0, 1, 2, 63, 64, 65, 127, 128, 129])
def test_lengths_around_a_tile(decoder: Decoder, steps: int) -> None:
    rng = np.random.default_rng(steps)
    for logits in both(rng.normal(size=(steps + 1, steps, 9))):
        check(decoder, logits, np.arange(steps + 1))


def test_repeats_across_the_edge_of_a_tile(decoder: Decoder) -> None:
    for path in ([3] * 200, [0] * 200, [3, 0] * 100, [1, 1, 2] * 70, [0] * 63 + [5, 5, 0, 5]):
        for logits in both(5 * np.eye(6)[[path]]):
            check(decoder, logits, np.array([len(path)]))
    labels = decoder(np.float32(5 * np.eye(4)[[[2, 2, 0, 2, 1, 1, 0, 0, 1]]]), np.array([9]))[0]
    assert labels.tolist() == [[2, 2, 1, 1, -1, -1, -1, -1, -1]]


def test_ties_go_to_the_lowest_label(decoder: Decoder) -> None:
    rng = np.random.default_rng(1)
    for classes in (2, 7, 8, 9, 100):
        for logits in both(rng.integers(0, 2, (3, 30, classes))):
            check(decoder, logits, np.array([30, 1, 17]))
        check(decoder, np.zeros((1, 5, classes), np.float32), np.array([5]))
        check(decoder, np.full((1, 5, classes), -np.inf, np.float32)[:, :0], np.array([0]))


def test_large_logits_and_many_classes(decoder: Decoder) -> None:
    rng = np.random.default_rng(2)
    for scale in (1e-3, 100.0, 60_000.0):
        for logits in both(np.clip(scale * rng.normal(size=(2, 70, 30)), -65_000, 65_000)):
            check(decoder, logits, np.array([70, 33]))
    check(decoder, np.float32(3e37 * rng.normal(size=(2, 70, 30))), np.array([70, 33]))
    check(decoder, np.float32(rng.normal(size=(1, 20, 7000))), np.array([20]))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_what_lies_beyond_the_frames_is_ignored(decoder: Decoder, garbage: float) -> None:
    for logits in both(np.random.default_rng(3).normal(size=(3, 90, 12))):
        for row, count in enumerate((1, 64, 70)):
            logits[row, count:] = garbage
        check(decoder, logits, np.array([1, 64, 70]))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_logits_show_in_the_score_as_in_the_reference(decoder: Decoder, garbage: float) -> None:
    rng = np.random.default_rng(4)
    for logits in both(rng.normal(size=(20, 40, 12))):
        logits[rng.random(logits.shape) < 0.05] = garbage
        check(decoder, logits, np.full(20, 40))


def test_every_half_is_read_rightly(decoder: Decoder) -> None:
    """Each half number against its two neighbours: the order of all of them, zeros and infinities included."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    numbers = np.sort(numbers[~np.isnan(numbers)])
    triples = np.lib.stride_tricks.sliding_window_view(numbers, 3)[None]
    found = decoder(triples, np.array([triples.shape[1]]))
    expected = reference.greedy(
        np.nan_to_num(triples.astype(np.float32), posinf=7e4, neginf=-7e4), np.array([len(triples[0])])
    )
    np.testing.assert_array_equal(found[0], expected[0])


def test_the_check_passes_no_score_that_differs(host: ctypes.CDLL) -> None:
    def agree(*scores: list[float]) -> bool:
        found, expected = (np.array(some, np.float32) for some in scores)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (found, expected)]
        return bool(host.ctc_scores_agree_host(*pointers, ctypes.c_int(len(found))))

    assert agree([], []) and agree([-1.0, 0.0, -3.5], [-1.00005, 0.0, -3.5])
    for wrong in (np.nan, np.inf, -np.inf, -1.001):
        for place in range(3):
            found = [-1.0, -1.0, -1.0]
            found[place] = wrong
            assert not agree(found, [-1.0] * 3) and not agree([-1.0] * 3, found)


def test_nvcc_compiles_the_kernel_its_launcher_and_the_check(built: Path) -> None:
    library = ctypes.CDLL(str(built / "libhtr_ctc.so"))
    invalid, nothing = 1, 0
    arguments = [None, 0, None, 0, 5, 0, None, None, None, None]
    assert library.ctc_decode_launch(*arguments) == invalid  # no classes
    arguments[5] = 9
    assert library.ctc_decode_launch(*arguments) == nothing  # no lines
    done = subprocess.run([built / "ctc_check"], capture_output=True, text=True)
    if done.returncode == 2:  # without a GPU: one sentence
        assert done.stderr.startswith("error: no usable GPU") and done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0 and "equal to the plain loop" in done.stdout


REGISTER = """
import pathlib, sys, tensorrt_rtx_libs
import tensorrt_rtx_bindings as trt
from htrcompress.runtime.tensorrt_engine import load_plugin
log = trt.Logger(trt.Logger.ERROR)
registry = trt.get_plugin_registry()
for _ in range(2):
    load_plugin(trt, pathlib.Path(sys.argv[1]))
print([(c.name, c.plugin_version, c.plugin_namespace) for c in registry.all_creators])
creator = registry.get_creator("CtcGreedyDecode", "1", "htrcompress")
plugin = creator.create_plugin("decode", trt.PluginFieldCollection([]), trt.TensorRTPhase.BUILD)
core = plugin.get_capability_interface(trt.PluginCapabilityType.CORE)
build = plugin.get_capability_interface(trt.PluginCapabilityType.BUILD)
print(core.plugin_name, build.num_outputs)
"""


def test_tensorrt_rtx_finds_the_plugin(built: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install 'htrcompress[rtx]'")
    if "TENSORRT_ROOT" not in os.environ:
        pytest.skip("TENSORRT_ROOT is not set: the plugin is not built without TensorRT's headers")
    printed = passes(sys.executable, "-c", REGISTER, built / "libhtr_ctc.so")  # apart: a failure there aborts
    assert "('CtcGreedyDecode', '1', 'htrcompress')" in printed
    assert printed.endswith("CtcGreedyDecode 3\n")

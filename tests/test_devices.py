"""Where a model computes: what is named is taken or refused, and nothing else quietly in its place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from htrcompress import HtrError
from htrcompress.errors import Unavailable
from htrcompress.runtime import Device, load, onnx_session

CPU, CUDA = onnx_session.PROVIDERS["cpu"], onnx_session.PROVIDERS["cuda"]


class FakeSession:
    """An InferenceSession with these methods."""

    def __init__(self, **methods: Any):
        self.__dict__.update(methods)


class FakeRuntime:
    """An ONNX Runtime with other providers; a session gets those of its `working` ones that were asked for."""

    GraphOptimizationLevel = SimpleNamespace(ORT_DISABLE_ALL=0)

    def __init__(self, available: list[str], working: list[str], onnx: Path):
        self.available, self.working, self.asked, self.onnx = available, working, [], onnx
        self.devices: list[Any] = []
        self.registered: list[tuple[str, str]] = []

    def SessionOptions(self) -> SimpleNamespace:
        options = SimpleNamespace(plugin=[], add_session_config_entry=lambda key, value: None)
        options.add_provider_for_devices = lambda devices, settings: options.plugin.append(
            (devices[0].ep_name, settings)
        )
        return options

    def get_available_providers(self) -> list[str]:
        return self.available

    def get_ep_devices(self) -> list[Any]:
        return self.devices if self.registered else []

    def register_execution_provider_library(self, name: str, path: str) -> None:
        self.registered.append((name, path))

    def InferenceSession(self, model: Any, options: Any, providers: Any = (), enable_fallback: int = 1) -> Any:
        import onnxruntime

        assert enable_fallback == 0
        wanted = [entry if isinstance(entry, tuple) else (entry, {}) for entry in providers] + options.plugin
        self.asked += wanted
        real = onnxruntime.InferenceSession(model, providers=[CPU])
        got = [name for name, _ in wanted if name in self.working] + [CPU]
        return FakeSession(
            get_providers=lambda: got,
            get_inputs=real.get_inputs,
            get_outputs=real.get_outputs,
            get_modelmeta=real.get_modelmeta,
        )


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tiny_onnx: Path) -> Any:
    """`runtime(available, working)`: puts a fake in the place of ONNX Runtime."""

    def make(available: list[str], working: list[str]) -> FakeRuntime:
        fake = FakeRuntime([onnx_session.PROVIDERS[name] for name in available], working, tiny_onnx)
        monkeypatch.setattr(onnx_session, "onnxruntime", lambda: fake)
        return fake

    return make


@pytest.mark.parametrize("device", ["cuda", "openvino", "tensorrt", "tensorrt-rtx"])
def test_a_provider_that_is_not_installed_is_refused(runtime: Any, tiny_onnx: Path, device: str) -> None:
    runtime(["cpu"], [CPU])
    with pytest.raises(Unavailable, match=rf"no usable {device} here, only cpu; for {device}: pip .*htrcompress\["):
        load(tiny_onnx, device=device)


def test_a_provider_without_its_driver_is_refused_and_never_replaced(runtime: Any, tiny_onnx: Path) -> None:
    fake = runtime(["cpu", "cuda", "tensorrt"], [CPU])
    for device in ("cuda", "tensorrt"):
        with pytest.raises(Unavailable, match=f"no usable {device} here"):
            load(tiny_onnx, device=device)
    assert load(tiny_onnx).backend.device == "cpu"  # none was named
    assert [name for name, _ in fake.asked if name == CUDA]


def test_cuda_is_taken_where_it_works_and_the_cpu_where_it_is_named(runtime: Any, tiny_onnx: Path) -> None:
    fake = runtime(["cpu", "cuda", "openvino"], [CPU, CUDA])
    assert load(tiny_onnx).backend.device == "cuda"
    assert fake.asked == [(CUDA, {"use_tf32": "0"})]
    assert load(tiny_onnx, device="cpu").backend.device == "cpu"


@pytest.mark.parametrize(("operator", "refused"), [("Conv", True), ("Shape", False)])
def test_a_network_that_would_partly_run_on_the_cpu_is_refused(
    runtime: Any, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, operator: str, refused: bool
) -> None:
    """ONNX Runtime gives nodes that a provider does not take to the CPU, and says nothing; sizes always are there."""
    fake = runtime(["cpu", "cuda"], [CPU, CUDA])
    open_real = fake.InferenceSession

    def open_split(*arguments: Any, **named: Any) -> Any:
        session = open_real(*arguments, **named)
        parts = [
            SimpleNamespace(ep_name=CUDA, get_nodes=lambda: [SimpleNamespace(op_type="MatMul")]),
            SimpleNamespace(ep_name=CPU, get_nodes=lambda: [SimpleNamespace(op_type=operator)]),
        ]
        session.get_provider_graph_assignment_info = lambda: parts
        return session

    monkeypatch.setattr(fake, "InferenceSession", open_split)
    if refused:
        with pytest.raises(Unavailable, match=operator):
            load(tiny_onnx, device="cuda")
        assert load(tiny_onnx).backend.device == "cpu"  # none was named
    else:
        assert load(tiny_onnx, device="cuda").backend.device == "cuda"


def test_providers_that_build_engines_are_told_the_range(runtime: Any, tiny_onnx: Path) -> None:
    name = onnx_session.PROVIDERS["tensorrt"]
    fake = runtime(["cpu", "tensorrt"], [CPU, name])
    assert load(tiny_onnx, device="tensorrt").backend.device == "tensorrt"
    assert fake.asked[-1] == (
        name,
        {
            "trt_profile_min_shapes": "pixels:1x1x32x1,widths:1",
            "trt_profile_opt_shapes": "pixels:32x1x32x1000,widths:32",
            "trt_profile_max_shapes": "pixels:32x1x32x1000,widths:32",
        },
    )


def test_tensorrt_rtx_comes_as_a_library(runtime: Any, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = onnx_session.PROVIDERS["tensorrt-rtx"]
    fake = runtime(["cpu"], [CPU, name])
    fake.devices = [SimpleNamespace(ep_name=name)]
    library = SimpleNamespace(get_library_path=lambda: "lib.so")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_ep_nv_tensorrt_rtx", library)
    assert load(tiny_onnx, device="tensorrt-rtx").backend.device == "tensorrt-rtx"
    assert fake.registered == [(name, "lib.so")]
    assert fake.asked[-1][1]["nv_profile_min_shapes"] == "pixels:1x1x32x1,widths:1"
    assert "tensorrt-rtx" in onnx_session.present()
    fake.working = [CPU]
    with pytest.raises(Unavailable, match="no usable tensorrt-rtx here"):
        load(tiny_onnx, device="tensorrt-rtx")


@pytest.mark.parametrize("device", ["openvino", "tensorrt", "tensorrt-rtx"])
def test_pytorch_does_not_take_the_devices_of_others(tiny_model: Path, device: str) -> None:
    with pytest.raises(HtrError, match=rf"run by PyTorch, which has no {device}: export it"):
        load(tiny_model, device=device)


def test_pytorch_refuses_what_is_not_there(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(Unavailable, match=rf"PyTorch finds no {device} here, only cpu"):
            load(tiny_model, device=device)
    assert load(tiny_model).backend.device == "cpu"


def test_an_unknown_device_is_told_the_known_ones(tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match=", ".join(get_args(Device))):
        load(tiny_onnx, device="tpu")
    with pytest.raises(HtrError, match="has no mps"):
        load(tiny_onnx, device="mps")


@pytest.mark.parametrize("width", [1, 61])
def test_openvino_reads_what_the_cpu_reads(tiny_onnx: Path, picture: Any, width: int) -> None:
    """In an environment with `htrcompress[openvino]`; elsewhere there is nothing to compare."""
    if "openvino" not in onnx_session.present():
        pytest.skip("ONNX Runtime has no OpenVINO here")
    lines = [picture(width), picture(300)]
    one, other = (load(tiny_onnx, 1, device).read(lines) for device in ("cpu", "openvino"))
    assert [reading.text for reading in one] == [reading.text for reading in other]


def test_no_graph_holds_a_clip_that_openvino_misreads(tiny_onnx: Path) -> None:
    """OpenVINO 2025 makes zeros of an integer Clip without a maximum, and every line then reads as nothing."""
    import onnx

    assert not [node for node in onnx.load(tiny_onnx).graph.node if node.op_type == "Clip" and len(node.input) == 2]

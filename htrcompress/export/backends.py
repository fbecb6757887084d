"""PyTorch in half precision, as a back end for verification."""

from pathlib import Path

from htrcompress.runtime.backend import Open
from htrcompress.runtime.torch_backend import TorchBackend


class HalfTorchBackend(TorchBackend):
    """A `.safetensors` model with FP16 weights and activations and the FP32 islands of an export, in PyTorch.

    It stands for what an FP16 file computes on a GPU, since ONNX Runtime's CPU provider computes FP16 graphs in FP32.
    """

    name = "PyTorch, half precision"
    arithmetic = "FP16"

    def __init__(self, path: Path, options: Open = Open()):
        super().__init__(path, options)
        self.model = self.model.half()

"""kraken's default network for text lines: its speed with random weights, or a model that `ketos train` made.

Lines are prepared by kraken's own transforms, as in its training. With random weights nothing is read, and the labels
only show whether they depend on the batch.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from PIL import Image
from protocol import serve
from torch_lines import TorchLines, size

CLASSES = 81
UNUSED = ("nms", "qnms")


def _allow_torchvision() -> None:
    """Declares operators that kraken never calls, where torchvision's wheel is for CUDA and PyTorch's is not."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in UNUSED:
            library.define(f"{name}() -> ()")
        globals()["_library"] = library  # as long as it lives, they are declared


class Kraken(TorchLines):
    """The default specification of the installed kraken, or a model file."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        _allow_torchvision()
        from kraken.configs import VGSLRecognitionTrainingConfig
        from kraken.lib.dataset import ImageInputTransforms
        from kraken.lib.vgsl import TorchVGSLModel
        from kraken.models import load_models

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        if options.get("weights"):
            network = load_models(options["weights"], tasks=["recognition"])[0]
            by_label = {label[0]: character for character, label in network.codec.c2l.items()}
            self.characters = [by_label.get(label, "") for label in range(1, max(by_label) + 1)]
        else:
            spec = VGSLRecognitionTrainingConfig().spec
            network = TorchVGSLModel(vgsl=f"{spec[:-1]} O1c{CLASSES}]")
        network.eval()
        self.vgsl = network
        self.network = self._logits
        batch, channels, height, width = network.input
        self.transforms = ImageInputTransforms(batch, height, width, channels, (16, 0))
        packages = f"kraken {version('kraken')}, torch {version('torch')}"
        self.about = {"version": packages, "arithmetic": "PyTorch, FP32", **size(network)}

    def _logits(self, pixels: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.vgsl(pixels, widths)[0]
        return logits.squeeze(2)

    def decoded(self, files: Sequence[str]) -> list[Any]:
        return [Image.open(file).convert("L") for file in files]

    def prepared(self, picture: Any) -> torch.Tensor:
        line: torch.Tensor = self.transforms(picture)
        return line


if __name__ == "__main__":
    serve(Kraken)

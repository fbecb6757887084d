"""The network of an attention decoder, opened from the file of its model: in PyTorch, or the `.step.onnx` graph.

The search over it is `decoding/attention.py`, which is the same for both.
"""

from pathlib import Path

from htrcompress.card import Card
from htrcompress.decoding.attention import AttentionModel
from htrcompress.errors import HtrError
from htrcompress.runtime.backend import STEP, TRAINED, Open


def open_attention(path: Path, card: Card, options: Open = Open()) -> AttentionModel:
    """Opens the attention decoder of a model file.

    Args:
        path: the `.safetensors` file that keeps it, or the `.onnx` file with the `.step.onnx` file beside it.
        card: of that file.
        options: threads and device.

    Raises:
        HtrError: the file keeps no decoder, its kind of file has none, or the graph beside it is not of the same model.
    """
    if path.suffix == TRAINED:
        from htrcompress.runtime.torch_attention import TorchAttention

        return TorchAttention(path, options)
    if path.suffix == ".onnx":
        from htrcompress.runtime.onnx_attention import OnnxAttention

        return OnnxAttention(path.with_name(path.stem + STEP), card, options)
    raise HtrError(f"{path} has no attention decoder: read with the .safetensors or .onnx file of the model")

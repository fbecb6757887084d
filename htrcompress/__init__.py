"""Small, fast, verified handwriting recognition.

    import htrcompress
    recognizer = htrcompress.load("student.onnx")
    print(recognizer.read(["line.png"])[0].text)

The names below are imported when they are first used, so `import htrcompress` itself loads neither torch
nor onnxruntime nor NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htrcompress.charset import Charset
    from htrcompress.decoding.matrix import decode_matrix
    from htrcompress.errors import HtrError
    from htrcompress.metrics import cer, wer
    from htrcompress.runtime.loading import load
    from htrcompress.runtime.recognizer import Reading, Recognizer
    from htrcompress.runtime.spans import Span

__version__ = "0.1.0"
__all__ = ["Charset", "HtrError", "Reading", "Recognizer", "Span", "cer", "decode_matrix", "load", "wer"]

_HOMES = {
    "Charset": "charset",
    "HtrError": "errors",
    "Reading": "runtime.recognizer",
    "Recognizer": "runtime.recognizer",
    "Span": "runtime.spans",
    "cer": "metrics",
    "decode_matrix": "decoding.matrix",
    "load": "runtime.loading",
    "wer": "metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'htrcompress' has no attribute '{name}'")
    value = getattr(import_module(f"htrcompress.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

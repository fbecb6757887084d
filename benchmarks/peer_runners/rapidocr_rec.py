"""PP-OCRv6 small, as the wheel of rapidocr holds it, in ONNX Runtime: lines only, without finding them."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import rapidocr
from protocol import Reader, serve
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec.typings import TextRecInput


class PaddleLines(Reader):
    """The recogniser of a RapidOCR; it sorts lines by their shape and fills batches itself."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        engine = "EngineConfig.onnxruntime"
        settings = {f"{engine}.intra_op_num_threads": threads, f"{engine}.inter_op_num_threads": 1}
        whole = RapidOCR(params={**settings, "Global.log_level": "error"})
        self.recogniser = whole._load_rec_model()  # the public call reads one image at a time
        model = Path(rapidocr.__file__).parent / "models" / "PP-OCRv6_rec_small.onnx"
        self.about = {
            "version": f"rapidocr {version('rapidocr')}, onnxruntime {version('onnxruntime')}",
            "arithmetic": "ONNX Runtime, FP32",
            "parameters": None,
            "bytes": model.stat().st_size,
        }

    def decoded(self, files: Sequence[str]) -> list[Any]:
        return [cv2.imread(file, cv2.IMREAD_COLOR) for file in files]

    def read(self, pictures: Sequence[Any], batch: int) -> list[str]:
        self.recogniser.rec_batch_num = batch
        return list(self.recogniser(TextRecInput(img=list(pictures))).txts)


if __name__ == "__main__":
    serve(PaddleLines)

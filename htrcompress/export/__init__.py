"""Deployable files of a trained model: ONNX, INT8, TensorRT engines, a Triton repository, and their proof.

`targets/` has a module for each kind of file that can be written, `exporter.py` writes them, and `verification.py`
compares them with their model; `commands.py` has both as commands.
"""

"""Deployable files of a trained model: ONNX, INT8, TensorRT engines, a Triton repository, and their proof.

`targets.py` lists everything that can be written; `exporter.py` is the command and `verification.py` the proof.
"""

"""Reading lines with a model file: the same call and the same text whatever runs the network."""

from htrcompress.runtime.recognizer import Backend, Device, Reading, Recognizer, load

__all__ = ["Backend", "Device", "Reading", "Recognizer", "load"]

"""Reading lines with a model file: the same call and the same text whatever runs the network."""

from htrcompress.runtime.backend import Backend, Device, Output
from htrcompress.runtime.recognizer import Reading, Recognizer, load

__all__ = ["Backend", "Device", "Output", "Reading", "Recognizer", "load"]

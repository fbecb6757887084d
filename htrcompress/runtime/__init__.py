"""Reading lines with a model file: the same call and the same text whatever runs the network."""

from htrcompress.runtime.backend import Backend, Device, Output
from htrcompress.runtime.loading import load
from htrcompress.runtime.pictures import Invert
from htrcompress.runtime.recognizer import Reading, Recognizer
from htrcompress.runtime.spans import Span

__all__ = ["Backend", "Device", "Invert", "Output", "Reading", "Recognizer", "Span", "load"]

"""Models by name: those inside the package, and those of folders, web addresses and Hub repositories that users name.

A catalogue is a folder with model files and an index of them, `models.json` (`index.py`). The one in `files/` comes
with the package; `find.py` turns a name into a file, and `download.py` fetches what is named by its address.
`htrcompress models` lists a catalogue.
"""

DEFAULT = "latin-s"
"""The model that reads where the user names none and has no run of their own."""

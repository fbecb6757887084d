"""Pages: where the lines of a page are, what they say, how to cut them out, and how to write text back.

`page.py` says what a page is. `files.py` reads it from a file and fills the file in, whichever of `page_xml.py` and
`alto.py` is its format; both stand on `markup.py`, an XML file as a tree that knows where its parts stand. `images.py`
finds and opens the scan, and `crop.py` cuts lines out of it by the geometry in `frame.py`.
"""

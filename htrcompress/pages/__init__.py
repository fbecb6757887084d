"""Pages: where the lines of a page are, what they say, how to cut them out, and how to write text back.

`page.py` says what a page is, `page_xml.py` and `alto.py` read it from files and fill files in, `images.py` finds and
opens the scan, and `crop.py` cuts lines out of it.
"""

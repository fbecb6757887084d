"""A page that reads lines: dropped or pasted images, their text, how sure each character is, two models side by side.

`python -m htrcompress.web` serves it on the loopback address (`server.py`, with the rules of `guard.py`); `export/web`
builds the same page as a folder of files that reads in the browser. `page/` is the one source of both; what differs is
`engine.js`, which reads a picture.
"""

"""`report.html`: a benchmark as one page with plots, which needs no network and no script.

`page(result, pictures)` makes it from the result alone; the pictures are those of the worst lines.
`python -m benchmarks.page RESULT.json` writes it again from a committed result.
"""

from benchmarks.page.compose import page

__all__ = ["page"]

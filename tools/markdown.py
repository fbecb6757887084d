"""Pieces of the Markdown of results: an error rate with its interval, and notes below a table."""


def with_interval(rate: float, interval: tuple[float, float]) -> str:
    """An error rate and its interval, fractions, in per cent."""
    low, high = interval
    return f"{100 * rate:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def notes(*paragraphs: str) -> list[str]:
    """The lines of some paragraphs below a table."""
    return ["", *(line for paragraph in paragraphs for line in (paragraph, ""))]

"""`Page` and `PageLine`: what a file says about a page, whichever format it is in."""

from dataclasses import dataclass, field, replace

from htrcompress.errors import HtrError

Point = tuple[float, float]
"""x to the right and y downwards, in pixels of the upright image."""
Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""
MAX_LINES = 20_000
"""More lines are on no page."""
MAX_POINTS = 1_000_000
"""More points are on no page."""


@dataclass(frozen=True, slots=True)
class PageLine:
    """One line on a page.

    Attributes:
        id: unique on the page; made up where the file gives none.
        text: the transcription as the file has it; empty where there is none.
        baseline: the points of the baseline, in the direction of the text; none where the file has none.
        polygon: the corners of the line's outline; none where the file has none.
        kinds: what the file calls the line and its region, such as `printed` or `MarginTextZone`.
        region: the id of the region that the line is in.
        confidence: how sure whoever wrote the text was, from 0 to 1; None where the file does not say.
    """

    id: str
    text: str = ""
    baseline: tuple[Point, ...] = ()
    polygon: tuple[Point, ...] = ()
    kinds: tuple[str, ...] = ()
    region: str = ""
    confidence: float | None = None

    def points(self) -> tuple[Point, ...]:
        """All points that say where the line is."""
        return self.baseline + self.polygon


@dataclass(frozen=True)
class Page:
    """A page: its image by name, and its lines in reading order.

    Attributes:
        source: the file that describes it.
        image: the image's name as the file has it; may be empty, and may hold folders that are elsewhere.
        width: of the image in pixels, as the file states it; 0 where it does not.
        height: likewise.
        lines: in reading order.
        format: such as `PAGE 2013-07-15` or `ALTO 4`.
        notes: what was unusual in the file, and how often.
        unit: what coordinates are in: `pixel`, or a unit that `in_pixels` converts.
    """

    source: str
    image: str
    width: float
    height: float
    lines: list[PageLine]
    format: str
    notes: dict[str, int] = field(default_factory=dict)
    unit: str = "pixel"

    def in_pixels(self, width: int, height: int) -> "Page":
        """The page in pixels of its image of that size.

        Pixels stay as they are, even where the file states another size than the image has: what counts is whether
        the coordinates fit.

        Raises:
            HtrError: coordinates are in another unit, and the file does not state the page's size in it.
        """
        if self.unit == "pixel":
            return self
        if not (self.width >= 1 and self.height >= 1):
            raise HtrError(f"{self.source} measures in {self.unit} and does not say how large the page is")
        x, y = width / self.width, height / self.height

        def scaled(points: tuple[Point, ...]) -> tuple[Point, ...]:
            return tuple((px * x, py * y) for px, py in points)

        lines = [replace(line, baseline=scaled(line.baseline), polygon=scaled(line.polygon)) for line in self.lines]
        return replace(self, width=width, height=height, lines=lines, unit="pixel")


@dataclass(frozen=True, slots=True)
class Reading:
    """What is written back into a page for one line.

    Attributes:
        text: the line's text.
        confidence: from 0 to 1, or None.
        boxes: for each word of the text its box on the page, or nothing; ALTO has a place for them.
    """

    text: str
    confidence: float | None = None
    boxes: tuple[Box, ...] = ()


def fault(line: PageLine, width: int, height: int) -> str | None:
    """Why a line cannot be cut out of an image of that size; None if it can."""
    if len(line.polygon) < 3 and len(line.baseline) < 2:
        if line.polygon or line.baseline:
            return "with a polygon of one or two points"
        return "without polygon and baseline"
    points = line.baseline if len(line.baseline) >= 2 else line.polygon
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    inside_x = min(right, width) - max(left, 0)
    inside_y = min(bottom, height) - max(top, 0)
    if inside_x < (right - left) / 2 or inside_y < (bottom - top) / 2 or inside_x <= 0 or inside_y < 0:
        return "outside of the image"
    return None

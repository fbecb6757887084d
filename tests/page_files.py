"""Small PAGE and ALTO files for the tests, and images for them."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
BASELINE = '<Baseline points="0,30 90,30"/>'
COORDS = '<Coords points="0,0 90,0 90,40 0,40"/>'


def page_xml(body: str, namespace: str = PAGE, start: str = "", attributes: str = "") -> str:
    page = f'<Page imageFilename="a.png" imageWidth="100" imageHeight="200" {attributes}>{body}</Page>'
    return f'{start}<PcGts xmlns="{namespace}"><Metadata/>{page}</PcGts>'


def page_line(name: str, text: str, inside: str = "", custom: str = "") -> str:
    equivalent = f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>" if text else ""
    return f'<TextLine id="{name}" custom="{custom}">{COORDS}{BASELINE}{inside}{equivalent}</TextLine>'


def alto(body: str, unit: str = "pixel", tags: str = "") -> str:
    return (
        f'<alto xmlns="{ALTO}"><Description><MeasurementUnit>{unit}</MeasurementUnit><sourceImageInformation>'
        f"<fileName>a.png</fileName></sourceImageInformation></Description><Tags>{tags}</Tags>"
        f'<Layout><Page WIDTH="100" HEIGHT="200"><PrintSpace>{body}</PrintSpace></Page></Layout></alto>'
    )


def draw(path: Path, size: tuple[int, int] = (100, 200), **save: Any) -> Path:
    """A white page with a black bar above the baseline of `page_line`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).rectangle((10, 20, 60, 29), fill=0)
    image.save(path, **save)
    return path


def write(path: Path, text: str = "", image: str | None = "a.png") -> Path:
    """A page file, and its image beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or page_xml(page_line("l", "one")), encoding="utf-8")
    if image:
        draw(path.parent / image)
    return path

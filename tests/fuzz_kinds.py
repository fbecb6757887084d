"""What `fuzz.py` damages: for each kind of file a maker of good ones, and a function that reads them as users do."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import fuzz_models
import numpy as np
import pyarrow as pa
import table_files as tables
import test_bentham
import test_corpora as corpora
from page_files import alto, page_line, page_xml
from PIL import Image
from test_ngram import _model, _texts

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.folders import files_in
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.open import open_dataset
from htrcompress.decoding.arpa import read_arpa, write_arpa
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.language import LanguageOptions, open_language
from htrcompress.decoding.ngram import compile_orders
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.decoding.words import lines_of, read_words
from htrcompress.errors import HtrError
from htrcompress.image import resize_to_height
from htrcompress.image_files import load_grey
from htrcompress.pages.crop import cut, measure
from htrcompress.pages.files import fill_page, load, read_page
from htrcompress.pages.images import Folders, find
from htrcompress.pages.markup import parse
from htrcompress.pages.page import Reading, fault

LINES = 40
"""Lines of a dataset, or of a page, whose pixels are asked for."""
LENIENT = ReadConfig(max_broken=1)


@dataclass(frozen=True)
class Kind:
    """A kind of input: `make` puts good files into an empty folder, and `read` reads a folder of such."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]


def read_dataset(root: Path) -> None:
    """Opens a folder, asks for pixels, and runs the data command with its gallery."""
    dataset = open_dataset(str(root), LENIENT)
    for line in islice(chain.from_iterable(dataset.splits.values()), LINES):
        assert line.text.isprintable() or not line.text.isascii()
        try:
            line.pixels()
        except HtrError as error:
            _expected(error)
    look(DataOptions(str(root), LENIENT, gallery=root.with_name("gallery.html"), show=4))


def _expected(error: HtrError) -> None:
    """Raises an error of one line again if memory ran out, which readers of images may take for a damaged image."""
    if out_of_memory(error):
        raise error


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised for, is for want of memory that some machine has."""
    while error:
        if isinstance(error, MemoryError | pa.ArrowMemoryError):
            wanted = re.search(r"size (\d+) failed", str(error))
            return not wanted or int(wanted[1]) < 1 << 40
        error = error.__cause__ or error.__context__
    return False


def read_pages(root: Path) -> None:
    """Reads pages, cuts their lines, writes texts into them and reads those."""
    for file in sorted(files_in(root)):
        if file.suffix == ".xml":
            page = read_page(file)
            try:
                _cut(page, root)
            except HtrError as error:
                _expected(error)
            readings = {line.id: Reading("né <&> \"'", 0.5, ((1.0, 2.0, 3.0, 4.0),)) for line in page.lines}
            written = fill_page(load(file), readings, source=str(file))
            parse(written, "what was written")
    read_dataset(root)


def _cut(page: object, root: Path) -> None:
    scan = find(page, Folders(root))  # type: ignore[arg-type]
    page = page.in_pixels(scan.width, scan.height)  # type: ignore[attr-defined]
    good = [line for line in page.lines if fault(line, scan.width, scan.height) is None]
    geometry = measure(good)
    for line in good[:LINES]:
        try:
            cut(scan.pixels(), line, geometry)
        except HtrError as error:
            _expected(error)


def read_images(root: Path) -> None:
    """Reads images as grey and scales them."""
    for file in sorted(files_in(root)):
        resize_to_height(load_grey(file), 64, 5000)


def read_words_lists(root: Path) -> None:
    """Reads lists of words, compiles and follows them, and makes the text that stands for them."""
    for file in sorted(files_in(root)):
        lines_of(read_words(file))
        _decode(LanguageOptions(words=file), Charset(tuple(" abcdefghijklmnopqrstuvwxyzé")))


def read_arpas(root: Path) -> None:
    """Reads ARPA files, compiles and saves them, and opens what was saved."""
    for file in sorted(files_in(root)):
        saved = root.with_name("saved.ngram")
        save_ngram(saved, compile_orders(*read_arpa(file)))
        try:
            load_ngram(saved)
        except HtrError as error:
            raise AssertionError("a model that was just saved is refused") from error


def read_ngrams(root: Path) -> None:
    """Opens compiled language models, scores a text and searches with them."""
    for file in sorted(files_in(root)):
        model = load_ngram(file)
        model.perplexity(["the cat", "xyz"])
        _decode(LanguageOptions(file), model.charset)


def _decode(options: LanguageOptions, charset: Charset) -> None:
    card = Card("fuzz", {"family": "gated"}, charset.characters, 32, 4, 1000, direction=charset.direction)
    decoder = BeamDecoder(card, open_language(options, charset))
    logits = np.random.default_rng(0).normal(0, 2, (1, 12, charset.classes)).astype(np.float32)
    decoder.decode(logits, np.array([12]))


def _tsv(root: Path) -> None:
    tables.save(root / "l" / "a.png")
    tables.save(root / "l" / "b.png", 90)
    (root / "train.tsv").write_text("l/a.png\tone é\nl/b.png\ttwo\n", encoding="utf-8")
    (root / "valid.tsv").write_text("l/b.png\tthree\n", encoding="utf-8")


def _packed(root: Path) -> None:
    source = root.with_name("source")
    _tsv(source)
    look(DataOptions(str(source), write=root, processes=1))


def _parquet(root: Path) -> None:
    for split, codec in (("train", "zstd"), ("validation", "none")):
        rows = [tables.row(n, f"text {n}", hand=str(n % 2)) for n in range(6)]
        tables.parquet(root / "data" / f"{split}.parquet", rows, compression=codec, row_group_size=4)


def _arrow(root: Path) -> None:
    lines = [{"text": f"text {n}", "im": tables.png(n)} for n in range(4)]
    flags = {name: [n == place for n in range(4)] for place, name in enumerate(("train", "validation", "test"))}
    tables.arrow(root / "a.arrow", lines, flags, {"lines": '{"type": "kraken_recognition_baseline"}'})
    table = pa.table({"lines": lines})
    with pa.OSFile(str(root / "b.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)


def _manifest(root: Path) -> None:
    for name in ("a", "b"):
        tables.save(root / "i" / f"{name}.png")
    corpora.write(root / "a.csv", 'file_name,text,split,writer\ni/a.png,"one, é",train,x\nb,two,test,y\n')
    corpora.write(root / "b.jsonl", '{"image": "i/a.png", "text": "one"}\n{"image": "i/b.png", "text": "two"}\n')


def _pairs(root: Path) -> None:
    for name in ("a", "train/b"):
        tables.save(root / f"{name}.png")
        corpora.write(root / f"{name}.gt.txt", "some é text\n")
    corpora.write(root / "train.ln", "b.png\n")


def _pylaia(root: Path) -> None:
    for name in ("m/a-1.png", "b.png"):
        tables.save(root / "imgs" / name)
    corpora.write(root / "syms.txt", "<ctc> 0\n<space> 1\nA 2\nb 3\n")
    corpora.write(root / "train.txt", "m/a-1 A b <space> b\nb b\n")
    corpora.write(root / "val.txt", "b A b\n")


def _iam_lines(root: Path) -> None:
    corpora.write(root / "lines.txt", corpora.LINES)
    for name in ("a01-000u-00", "a01-000u-01", "a02-001-00"):
        corpora.save(root / "lines" / f"{name}.png")
    corpora.write(root / "splits" / "tr.lst", "a01-000u\n")
    corpora.write(root / "splits" / "te.lst", "a02-001\n")


def _iam_forms(root: Path) -> None:
    corpora.write(root / "xml" / "a01-000u.xml", corpora.FORM, "iso-8859-1")
    corpora.save(root / "formsA-D" / "a01-000u.png")


def _rimes(root: Path) -> None:
    corpora.write(root / "training_2011.xml", corpora.RIMES)
    corpora.write(root / "eval_2011_annotated.xml", corpora.RIMES.replace("train-", "eval-"))
    for name in ("train-1", "train-2", "eval-1"):
        corpora.save(root / "images_gray" / f"{name}.png")


def _cvl(root: Path) -> None:
    corpora.write(root / "trainset" / "xml" / "0001-1_attributes.xml", corpora.CVL, "iso-8859-1")
    for name in ("0001-1-0", "0001-1-1"):
        corpora.save(root / "trainset" / "lines" / "0001" / f"{name}.tif")
    corpora.save(root / "trainset" / "words" / "0001" / "0001-1-1-0-Die.tif")


def _histdb(root: Path) -> None:
    corpora.write(root / "ground_truth" / "transcription.txt", "270-01 O-r-d|f-o-r|s_GW|s_5\n270-02 a|b\n")
    for name in ("270-01", "270-02"):
        corpora.save(root / "data" / "line_images_normalized" / f"{name}.png")
    corpora.write(root / "sets" / "cv1" / "train.txt", "270-01\n")
    corpora.write(root / "sets" / "cv1" / "valid.txt", "270-02\n")


_ORDER = '<ReadingOrder><OrderedGroup id="g"><RegionRefIndexed index="1" regionRef="r"/></OrderedGroup></ReadingOrder>'


def _page(root: Path) -> None:
    lines = page_line("l", "one é &amp;amp;", custom="readingOrder {index:1;} structure {type:heading;}")
    words = '<Word><TextEquiv index="0" conf="0.5"><Unicode>two</Unicode></TextEquiv></Word>'
    points = '<Coords><Point x="0" y="50"/><Point x="90" y="50"/><Point x="90" y="90"/></Coords>'
    body = f'{_ORDER}<TextRegion id="r">{lines}<TextLine id="m">{points}{words}</TextLine></TextRegion>'
    corpora.write(root / "page" / "x.xml", page_xml(body))
    corpora.save(root / "x.png", 100, 120)


def _alto(root: Path) -> None:
    shape = '<Shape><Polygon POINTS="0 0 90 0 90 40 0 40"/></Shape>'
    words = '<String CONTENT="one" WC="0.5"/><SP/><String CONTENT="two &amp; é"/><HYP CONTENT="-"/>'
    second = '<TextLine HPOS="0" VPOS="50" WIDTH="90" HEIGHT="40"><String CONTENT="x"/></TextLine>'
    body = f'<TextBlock ID="b"><TextLine ID="l" BASELINE="0 30 90 30">{shape}{words}</TextLine>{second}</TextBlock>'
    corpora.write(root / "x.xml", alto(body))
    corpora.save(root / "x.png", 100, 120)


def _images(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, name in (("RGBA", "a.png"), ("L", "b.jpg"), ("P", "c.gif"), ("1", "d.tif"), ("RGB", "e.webp")):
        Image.fromarray(pixels).convert(mode).save(root / name, exif=exif)
    Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200).save(root / "f.tif", compression="tiff_deflate")
    for name in ("g.bmp", "h.ppm", "i.jp2", "j.tif"):
        Image.fromarray(pixels[:, :, :3]).save(root / name)
    Image.fromarray(pixels[:, :, :3]).save(root / "k.tif", compression="tiff_lzw", save_all=True)


def _words(root: Path) -> None:
    corpora.write(root / "names.txt", "hooker\ndarwin\t2\nla rochelle\t0.5\no'brien\n")


def _arpa(root: Path) -> None:
    orders, model = _model(_texts(30), 3)
    write_arpa(root / "a.arpa", orders, model.charset)


def _ngram(root: Path) -> None:
    save_ngram(root / "a.ngram", _model(_texts(30), 3)[1])


KINDS = {
    "page": Kind(_page, read_pages),
    "alto": Kind(_alto, read_pages),
    "tsv": Kind(_tsv, read_dataset),
    "manifest": Kind(_manifest, read_dataset),
    "pairs": Kind(_pairs, read_dataset),
    "pylaia": Kind(_pylaia, read_dataset),
    "iam-lines": Kind(_iam_lines, read_dataset),
    "iam-forms": Kind(_iam_forms, read_dataset),
    "rimes": Kind(_rimes, read_dataset),
    "cvl": Kind(_cvl, read_dataset),
    "histdb": Kind(_histdb, read_dataset),
    "bentham": Kind(test_bentham.tree, read_dataset),
    "parquet": Kind(_parquet, read_dataset),
    "arrow": Kind(_arrow, read_dataset),
    "packed": Kind(_packed, read_dataset),
    "images": Kind(_images, read_images),
    "words": Kind(_words, read_words_lists),
    "arpa": Kind(_arpa, read_arpas),
    "ngram": Kind(_ngram, read_ngrams),
    "safetensors": Kind(fuzz_models.trained, fuzz_models.read_trained),
    "onnx": Kind(fuzz_models.exported, fuzz_models.read_exported),
    "card": Kind(fuzz_models.card, fuzz_models.read_cards),
    "engine": Kind(fuzz_models.document, fuzz_models.read_documents),
    "catalogue": Kind(fuzz_models.catalogue, fuzz_models.read_catalogue),
}


def made(folder: Path, names: list[str]) -> Iterator[Path]:
    """Folders with good files of the kinds named."""
    for name in names:
        root = folder / name
        root.mkdir(parents=True)
        KINDS[name].make(root)
        yield root

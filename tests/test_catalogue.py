"""Models by name: the index, the one in the package, those at addresses, checksums, the cache, the command."""

import hashlib
import io
import json
import os
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

import pytest

import htrcompress
from htrcompress import HtrError, runs
from htrcompress.catalogue import DEFAULT, download
from htrcompress.catalogue.__main__ import ModelsOptions, models
from htrcompress.catalogue.download import checked
from htrcompress.catalogue.find import find, folder_url, locate, parse
from htrcompress.catalogue.index import INDEX, PACKAGED, Entry, LanguageEntry, index_bytes, read_folder, read_index
from htrcompress.cli import console, run_command
from htrcompress.decoding.language import LanguageOptions
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.lm import LmOptions, make_language_model

HOST = "https://models.test/letters"


def entry(model: Path, **changes: object) -> Entry:
    content = model.read_bytes()
    known = {"reads": "noise", "languages": ("en",), "licence": "CC0-1.0", "parameters": 5}
    metrics = {"noise/test": {"cer": 0.5, "interval": [0.4, 0.6], "lines": 4, "hash": "0"}}
    values = {"name": "tiny", "file": "tiny.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return Entry(**{**known, **values, "metrics": metrics, **changes})  # type: ignore[arg-type]


def language(path: Path, **changes: object) -> LanguageEntry:
    content = path.read_bytes()
    metrics = {"noise/test": {"model": "tiny", "greedy": 0.5, "cer": 0.4, "interval": [0.3, 0.5], "lines": 4}}
    return LanguageEntry(
        **{
            "name": "words",
            "file": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "reads": "words",
            "languages": ("en",),
            "licence": "CC0-1.0",
            "order": 3,
            "metrics": metrics,
            **changes,
        }  # type: ignore[arg-type]
    )


@pytest.fixture
def words(folder: Path, shipped: Path) -> Path:
    """A language model in the catalogue, `words`."""
    (folder / "text.txt").write_text("the cat sat on the mat\n" * 9, encoding="utf-8")
    path = make_language_model(LmOptions([str(folder / "text.txt")], order=3, out=folder / "words.ngram")).path
    (folder / "text.txt").unlink()
    (folder / INDEX).write_bytes(index_bytes({"tiny": entry(shipped)}, {"words": language(path)}))
    return path


@pytest.fixture
def shipped() -> Path:
    """A model file."""
    return locate(DEFAULT)


@pytest.fixture
def folder(tmp_path: Path, shipped: Path) -> Path:
    """A catalogue with one model, `tiny`."""
    place = tmp_path / "letters"
    place.mkdir()
    shutil.copy(shipped, place / "tiny.onnx")
    (place / INDEX).write_bytes(index_bytes({"tiny": entry(shipped)}, {}))
    return place


class Server:
    """What stands at addresses, in the place of the network; counts what is fetched."""

    def __init__(self, pages: dict[str, bytes]):
        self.pages, self.fetched = pages, list[str]()

    def open(self, url: str, timeout: float) -> io.BytesIO:
        self.fetched.append(url)
        if url not in self.pages:
            raise HTTPError(url, 404, "Not Found", None, None)  # type: ignore[arg-type]
        return io.BytesIO(self.pages[url])


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The catalogue at an address, and an empty cache."""
    found = Server({f"{HOST}/{path.name}": path.read_bytes() for path in folder.iterdir()})
    monkeypatch.setattr(download, "_opener", lambda: found)
    monkeypatch.setenv("HTRCOMPRESS_CACHE", str(tmp_path / "cache"))
    return found


def test_the_package_has_its_default_model() -> None:
    entries = read_folder(PACKAGED, Entry)
    assert DEFAULT in entries
    assert sum(e.bytes for e in entries.values()) <= 3 << 20
    for name, found in entries.items():
        assert locate(name) == PACKAGED / found.file
        assert (PACKAGED / found.file).stat().st_size == found.bytes
        assert found.licence and found.languages and found.metrics
    languages = read_folder(PACKAGED, LanguageEntry)
    for name, model in languages.items():
        assert LanguageOptions(name).located() == PACKAGED / model.file
        assert load_ngram(PACKAGED / model.file).order == model.order
        assert model.licence and model.languages
    files = [INDEX, *(e.file for e in entries.values()), *(model.file for model in languages.values())]
    assert sorted(path.name for path in PACKAGED.iterdir()) == sorted(files)


def test_a_name_is_read_with(picture: Callable) -> None:
    with htrcompress.load(DEFAULT, threads=1) as recognizer:
        assert recognizer.backend.arithmetic == "INT8"
        assert recognizer.card.licence == read_folder(PACKAGED, Entry)[DEFAULT].licence
        recognizer.read([picture(200, 64)])


def test_the_figures_in_the_package_are_those_of_the_results() -> None:
    results = Path(__file__).parent.parent / "benchmarks" / "results"
    rows = json.loads((results / "corpora.json").read_text(encoding="utf-8"))["rows"]
    for name, found in read_folder(PACKAGED, Entry).items():
        [row] = [r for r in rows if (r["name"], r["precision"]) == (name, "INT8")]
        assert {split: score["cer"] for split, score in row["scores"].items()} == {
            split: score["cer"] for split, score in found.metrics.items()
        }
        assert round(row["files"]["median"]) == found.speed["lines_per_second"]


def test_the_figures_of_language_models_are_those_of_the_results() -> None:
    root = Path(__file__).parent.parent
    for folder in (PACKAGED, root / "models"):
        for found in read_folder(folder, LanguageEntry).values():
            if not found.metrics:
                continue  # not measured yet
            result = json.loads((root / "benchmarks" / "results" / "ngrams.json").read_text(encoding="utf-8"))
            [lm] = [name for name, row in result["lms"].items() if row["file"] == found.file]
            for split, row in found.metrics.items():
                [model] = [model for model in result["models"].values() if model["name"] == row["model"]]
                assert model["decoders"][f"beam, {lm}"]["scores"][split]["cer"] == row["cer"]
                assert model["decoders"]["greedy"]["scores"][split]["cer"] == row["greedy"]


@pytest.mark.parametrize("near", [DEFAULT[:-1], DEFAULT.upper().lower() + "x"])
def test_the_nearest_names_are_offered(near: str) -> None:
    with pytest.raises(HtrError, match=DEFAULT):
        htrcompress.load(near)


def test_a_path_is_a_path(tmp_path: Path, shipped: Path) -> None:
    assert locate(shipped) == shipped
    assert locate(str(tmp_path / "missing.onnx")) == tmp_path / "missing.onnx"
    with pytest.raises(HtrError, match="no model at"):
        locate(tmp_path / "missing")


def test_a_model_of_the_clone_is_called_by_its_path(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(read_folder(folder, Entry)))
    (tmp_path / "clone").mkdir()
    shutil.copytree(folder, tmp_path / "clone" / "models")
    monkeypatch.chdir(tmp_path / "clone")
    entry = read_folder(Path("models"), Entry)[name]
    Path("models", INDEX).write_bytes(index_bytes({"larger": replace(entry, name="larger")}, {}))
    Path("models", "teacher.safetensors").touch()
    for typed, called in (("larger", "models/larger"), ("teacher", r"models/teacher\.safetensors")):
        with pytest.raises(HtrError, match=called):
            find(typed)


def test_a_folder_of_that_name_hides_no_model(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT).mkdir()
    assert locate(DEFAULT) == runs.reader(DEFAULT) == PACKAGED / read_folder(PACKAGED, Entry)[DEFAULT].file
    shutil.copy(tiny_model, Path(DEFAULT) / "student.safetensors")
    assert runs.reader(DEFAULT) == Path(DEFAULT) / "student.safetensors"
    Path("empty").mkdir()
    with pytest.raises(HtrError, match="empty holds no"):
        runs.reader("empty")


def test_a_folder_is_a_catalogue(folder: Path) -> None:
    assert locate(f"{folder}/tiny") == folder / "tiny.onnx"
    with pytest.raises(HtrError, match="tiny"):
        locate(f"{folder}/tinny")
    with pytest.raises(HtrError, match="no model at"):
        locate(f"{folder.parent}/tiny")


def test_a_changed_file_is_refused(folder: Path) -> None:
    with open(folder / "tiny.onnx", "ab") as file:
        file.write(b"!")
    with pytest.raises(HtrError, match=r"tiny\.onnx"):
        locate(f"{folder}/tiny")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["tiny.onnx", INDEX])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(HtrError):
        checked(folder / "tiny.onnx", read_folder(folder, Entry)["tiny"].sha256)


def test_an_index_of_any_size_is_not_read_whole(folder: Path) -> None:
    os.truncate(folder / INDEX, 1 << 40)
    with pytest.raises(HtrError, match=INDEX):
        read_folder(folder, Entry)


def test_an_address_is_fetched_once(server: Server, folder: Path) -> None:
    first = find(f"{HOST}/tiny")
    assert first.read_bytes() == (folder / "tiny.onnx").read_bytes()
    assert server.fetched == [f"{HOST}/{INDEX}", f"{HOST}/tiny.onnx"]
    server.pages.clear()
    assert find(f"{HOST}/tiny") == first
    assert htrcompress.load(f"{HOST}/tiny", threads=1).card.name == DEFAULT
    assert len(server.fetched) == 2


def test_a_single_file_is_pinned(server: Server) -> None:
    address = f"{HOST}/tiny.onnx"
    path = find(address)
    assert server.fetched == [address]
    path.unlink()
    server.pages[address] += b"!"
    with pytest.raises(HtrError, match=address):
        find(address)
    assert not path.exists()


def test_a_given_checksum_decides(server: Server, folder: Path) -> None:
    good = hashlib.sha256((folder / "tiny.onnx").read_bytes()).hexdigest()
    for name in ("tiny", "tiny.onnx"):
        with pytest.raises(HtrError, match="0" * 64):
            find(f"{HOST}/{name}#sha256={'0' * 64}")
        assert find(f"{HOST}/{name}#sha256={good.upper()}").is_file()
    with pytest.raises(HtrError, match="0" * 64):
        find(f"{folder}/tiny#sha256={'0' * 64}")
    with pytest.raises(HtrError, match="64 hexadecimal"):
        find(f"{HOST}/tiny#sha256=12")


def test_a_damaged_cache_is_told(server: Server) -> None:
    path = find(f"{HOST}/tiny")
    path.write_bytes(b"broken")
    with pytest.raises(HtrError, match="cache"):
        find(f"{HOST}/tiny")


def test_a_hub_repository_is_an_address(server: Server) -> None:
    place = "https://huggingface.co/who/letters/resolve"
    assert folder_url("hf://who/letters") == f"{place}/main"
    assert folder_url("hf://who/letters@v1/inner") == f"{place}/v1/inner"
    server.pages |= {url.replace(HOST, f"{place}/v1"): page for url, page in server.pages.items()}
    assert find("hf://who/letters@v1/tiny").name == "tiny.onnx"
    for wrong in ("hf://who/x", "hf://who", f"{HOST}/", "https://host"):
        with pytest.raises(HtrError, match="names no"):
            parse(wrong)


@pytest.mark.parametrize("address", ["http://models.test/letters/tiny.onnx", "http://models.test/letters/tiny"])
def test_only_https_is_fetched(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTRCOMPRESS_CACHE", str(tmp_path))
    with pytest.raises(HtrError, match="https"):
        find(address)


def test_a_redirection_leads_to_https_alone() -> None:
    handlers = {type(handler).__name__ for handler in download._opener().handlers}
    assert "HTTPSHandler" in handlers
    assert not {"HTTPHandler", "FileHandler", "FTPHandler", "DataHandler"} & handlers
    with pytest.raises(urllib.request.URLError):  # what a redirection would open
        download._opener().open("file:///etc/hostname", timeout=1)


@pytest.mark.parametrize("announced", ["Content-Length: 300", "Transfer-Encoding: chunked"])
def test_half_a_file_is_not_kept(announced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut:
        """A connection that ends before the file does."""

        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(f"HTTP/1.1 200 OK\r\n{announced}\r\n\r\n64\r\n".encode() + bytes(90))

        def open(self, url: str, timeout: float) -> HTTPResponse:
            reply = HTTPResponse(self)  # type: ignore[arg-type]
            reply.begin()
            return reply

    monkeypatch.setattr(download, "_opener", Cut)
    monkeypatch.setenv("HTRCOMPRESS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(HtrError, match="broke"):
        find(f"{HOST}/tiny.onnx")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["..\\..\\x.onnx", "a:b.onnx", "a.onnx?x=1", " .onnx", ".onnx", "a\n.onnx"])
def test_an_address_ends_in_a_plain_name(server: Server, name: str) -> None:
    with pytest.raises(HtrError, match=HOST):
        find(f"{HOST}/{name}")
    assert not server.fetched


def test_what_is_too_large_is_not_kept(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download.fetch, "__defaults__", (100,))
    with pytest.raises(HtrError, match="larger than"):
        find(f"{HOST}/tiny.onnx")
    assert not (tmp_path / "cache").exists()


def test_what_is_not_there_is_told(server: Server) -> None:
    for missing in (f"{HOST}/none.onnx", f"{HOST}x/tiny"):
        with pytest.raises(HtrError, match="404"):
            find(missing)
    with pytest.raises(HtrError, match="did you mean tiny"):
        find(f"{HOST}/tinny")


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../tiny.onnx"},
        {"file": "tiny.pt"},
        {"file": "/etc/tiny.onnx"},
        {"sha256": "12"},
        {"name": "a/b"},
        {"reads": "a\x1b[2Jb"},
        {"bytes": "12"},
        {"metrics": {"noise/test": {"cer": 0.5}}},
        {"speed": {"lines_per_second": "fast", "measured": ""}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_damaged_index_is_refused(changes: dict[str, object], shipped: Path) -> None:
    with pytest.raises(HtrError, match="the-index"):
        read_index(index_bytes({"tiny": entry(shipped, **changes)}, {}), "the-index", Entry)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"htrcompress": 2, "models": []}', b'{"htrcompress": 1}', b"[" * 9999])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(HtrError, match="the-index"):
        read_index(data, "the-index", Entry)


def test_a_language_model_has_a_name(folder: Path, words: Path, picture: Callable) -> None:
    assert LanguageOptions(f"{folder}/words").located() == LanguageOptions(words).located() == words
    assert "tiny" in read_folder(folder, Entry)  # that an index has language models changes nothing for models
    with htrcompress.load(DEFAULT, threads=1, lm=f"{folder}/words") as recognizer:
        assert recognizer.decoder is not None and recognizer.read([picture(200, 64)])
    with pytest.raises(HtrError, match=r"no language model is called 'word' .*words"):
        htrcompress.load(DEFAULT, lm=f"{folder}/word")
    with pytest.raises(HtrError, match="no model is called 'words'"):
        htrcompress.load(f"{folder}/words")
    words.write_bytes(words.read_bytes() + b" ")
    with pytest.raises(HtrError, match="SHA-256"):
        LanguageOptions(f"{folder}/words").located()


def test_a_language_model_is_fetched_by_its_address(words: Path, server: Server) -> None:
    content = words.read_bytes()
    for address in (f"{HOST}/words", f"{HOST}/words.ngram"):
        found = LanguageOptions(address).located()
        assert found is not None and found.read_bytes() == content and found != words
    count = len(server.fetched)
    assert LanguageOptions(f"{HOST}/words").located() and len(server.fetched) == count
    with pytest.raises(HtrError, match="is not fetched"):
        LanguageOptions("http://models.test/letters/words").located()


@pytest.mark.parametrize(
    "changes",
    [{"file": "words.onnx"}, {"order": "3"}, {"metrics": {"a/test": {"cer": 0.5, "interval": [0, 1], "lines": 1}}}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_damaged_entry_of_a_language_model_is_refused(words: Path, changes: dict[str, object]) -> None:
    with pytest.raises(HtrError, match="the-index"):
        read_index(index_bytes({}, {"words": language(words, **changes)}), "the-index", LanguageEntry)


def test_the_command_lists_language_models(folder: Path, words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [found.name for found in models(ModelsOptions(str(folder))).language_models] == ["words"]
    with pytest.raises(SystemExit):
        run_command(models, "source", [str(folder)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "50.00 -> 40.00" in printed and "--lm words: words; n-grams of 3; CC0-1.0" in printed


def test_the_command_lists_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models(ModelsOptions()).default == DEFAULT
    assert [found.name for found in models(ModelsOptions(str(folder))).models] == ["tiny"]
    with pytest.raises(SystemExit) as ended:
        run_command(models, "source", ["--json"])
    console.stderr = False
    assert ended.value.code == 0
    assert DEFAULT in [found["name"] for found in json.loads(capsys.readouterr().out)["models"]]
    with pytest.raises(SystemExit):
        run_command(models, "source", [])
    printed = " ".join(capsys.readouterr().out.split())
    assert "the default" in printed and read_folder(PACKAGED, Entry)[DEFAULT].licence[:40] in printed

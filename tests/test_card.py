"""Cards, their flat keys and the document beside an engine: what is written, and what is refused in one sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from standins import write_engine

import htrcompress
from htrcompress.card import CARD_KEY, Card
from htrcompress.errors import HtrError
from htrcompress.export.graph import read_graph
from htrcompress.runtime.engine_file import document_path, parse, read_document, write_document

CARD = Card("tiny", {"family": "gated"}, tuple(' ="\\aé\u2028𝒳'), 32, 4, 1000, licence="CC-BY-4.0 (Zoë, 漢)")
BUILT = {"runtime": "tensorrt", "version": "11.1", "sha256": "0" * 64, "precision": "fp16"}


def test_flat_keys_are_what_a_program_needs() -> None:
    assert CARD.flat() == {
        "htrcompress.format": "1",
        "htrcompress.height": "32",
        "htrcompress.stride": "4",
        "htrcompress.max_width": "1000",
        "htrcompress.charset": ' ="\\aé\u2028𝒳',
        "htrcompress.digest": CARD.digest(),
    }
    assert Card.from_metadata(CARD.to_metadata(), "a.onnx") == CARD


@pytest.mark.parametrize("key", CARD.flat())
def test_flat_keys_that_are_missing_or_contradict_the_card_are_named(key: str) -> None:
    metadata = CARD.to_metadata()
    for wrong in (metadata | {key: metadata[key] + "0"}, {k: v for k, v in metadata.items() if k != key}):
        with pytest.raises(HtrError, match=rf"a\.onnx.*{key}"):
            Card.from_metadata(wrong, "a.onnx")


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("/home/me/lines", "lines"),
        ("~/lines", "lines"),
        (r"C:\Users\me\lines", "lines"),
        (r"\\server\share\lines", "lines"),
        ("lines", "lines"),
        ("recipes/lines", "recipes/lines"),
        ("hooker,copiste", "hooker,copiste"),
        ("/home/me/hooker,/srv/copiste", "hooker,copiste"),
        ("/", "/"),
        ("~", "~"),
    ],
)
def test_no_absolute_path_is_stored(path: str, stored: str) -> None:
    card = replace(CARD, name=path, data={"path": path}, training={"init": [{"file": path}], "teacher": path})
    assert card.data["path"] == card.training["teacher"] == card.training["init"][0]["file"] == card.name == stored
    assert Card.from_json(card.to_json(), "it") == card


def test_what_json_or_utf8_cannot_hold_is_replaced() -> None:
    card = replace(
        CARD,
        metrics={"valid": {"cer": float("nan"), "wer": np.inf}},
        data={"name": "caf\udce9\n"},
        training={"\x07": 1, "\x08": 2},
    )
    assert card.metrics == {"valid": {"cer": None, "wer": None}} and card.data == {"name": "cafU+DCE9U+000A"}
    assert card.training == {"U+0007": 1, "U+0008": 2}
    assert Card.from_json(card.to_json().encode().decode(), "it") == card and "\n" not in card.to_json()


@pytest.mark.parametrize(
    "text",
    [
        CARD.to_json()[:-1] + ', "height": 32}',  # the same key twice
        CARD.to_json().replace('"metrics": {}', '"metrics": {"cer": NaN}'),
        CARD.to_json().replace('"family": "gated"', '"family": "gated", "dropout": 1e999'),
        CARD.to_json().replace('"licence": "', '"licence": "\\u001b[2J'),
        CARD.to_json().replace('"licence": "', '"licence": "\\ud800'),
        CARD.to_json().replace('"metrics": {}', '"metrics": {"\\u0000": 1}'),
        CARD.to_json().replace('"height": 32', '"height": ' + "9" * 5000),
        CARD.to_json().replace('"metrics": {}', '"metrics": ' + "[" * 400 + "]" * 400),
        CARD.to_json().replace('"metrics": {}', f'"metrics": {{"a": "{"x" * (17 << 20)}"}}'),
        CARD.to_json().replace("1}", "[1]}").replace('"htrcompress": 1', '"htrcompress": {"\\u0007": 2}'),
    ],
    ids=["twice", "NaN", "overflow", "escape", "surrogate", "null", "digits", "depth", "size", "format"],
)
def test_texts_that_no_card_holds_are_refused(text: str) -> None:
    with pytest.raises(HtrError, match=r"a\.onnx") as caught:
        Card.from_json(text, "a.onnx")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_documents_are_flat(tmp_path: Path) -> None:
    built = BUILT | {"profile": {"batch": (1, 8, 32)}, "capabilities": ("SM86",), "islands": ({"kind": "softmax"},)}
    write_document(tmp_path / "a.engine", CARD, built)
    text = (tmp_path / "a.engine.meta").read_text(encoding="utf-8")
    assert "\nengine.profile.batch=1,8,32\n" in text and '\nengine.islands=[{"kind": "softmax"}]\n' in text
    assert f"{CARD_KEY}={CARD.to_json()}\n" in text
    card, read = read_document(tmp_path / "a.engine")
    assert card == CARD and read["capabilities"] == "SM86" and read["plugin"] == ""
    with pytest.raises(HtrError, match=r"engine\.version"):
        write_document(tmp_path / "a.engine", CARD, BUILT | {"version": "1\nengine.plugin=x.so"})
    assert (tmp_path / "a.engine.meta").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text + "engine.plugin=../other.so\n",
        lambda text: text + "engine.plugin=/other.so\n",
        lambda text: text + "engine.runtime=tensorrt\n",
        lambda text: text + "no separator\n",
        lambda text: text + "a=\x00\n",
        lambda text: text + "\n",
        lambda text: text.replace("engine.runtime=tensorrt", "engine.runtime=other"),
        lambda text: text.replace("engine.sha256=", "engine.sha="),
        lambda text: text.replace("htrcompress.height=32", "htrcompress.height=48"),
        lambda text: text.replace("htrcompress.charset= ", "htrcompress.charset="),
        lambda text: text + "a=" + "x" * (33 << 20),
    ],
)
def test_damaged_documents_are_refused_in_one_sentence(tmp_path: Path, spoil: Callable[[str], str]) -> None:
    write_document(tmp_path / "a.engine", CARD, BUILT)
    document = document_path(tmp_path / "a.engine")
    document.write_text(spoil(document.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(HtrError, match=r"a\.engine\.meta") as caught:
        read_document(tmp_path / "a.engine")
    assert str(caught.value).isprintable()


def test_a_document_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HtrError, match=r"a\.engine\.meta"):
        read_document(tmp_path / "a.engine")
    document_path(tmp_path / "a.engine").mkdir()
    with pytest.raises(HtrError, match=r"a\.engine\.meta"):
        read_document(tmp_path / "a.engine")


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Some bytes of a file changed, removed, repeated or put in."""
    spoilt = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place, size = int(rng.integers(len(spoilt))), int(rng.integers(1, 20))
        piece = [rng.bytes(1), b"", rng.bytes(size), bytes(spoilt[place : place + size]) * 2, b"\xff", b"=", b"\n"]
        end = place + (1 if rng.random() < 0.7 else size)
        spoilt[place:end] = piece[int(rng.integers(len(piece)))]
        if not spoilt:
            spoilt += b"x"
    return bytes(spoilt)


def survives(read: Callable[[], Any]) -> bool:
    """Whether something is read; any error but a sentence in HtrError is a failure of the test."""
    try:
        read()
    except HtrError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return False
    return True


def test_damage_anywhere_in_a_card_or_document_is_at_worst_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    engine = write_engine(tmp_path / "a.engine", CARD.to_json())
    good, read = document_path(engine).read_bytes(), 0
    for _ in range(800):
        data = damaged(rng, good)
        document_path(engine).write_bytes(data)
        read += survives(lambda: read_document(engine))
        survives(lambda data=data: parse(data, "it"))
        text = damaged(rng, CARD.to_json().encode()).decode(errors="surrogateescape")
        survives(lambda text=text: Card.from_json(text, "it"))
    assert read < 200


def minimal_onnx(metadata: dict[str, str]) -> bytes:
    """A graph with the inputs and outputs of an export, and with metadata."""
    ends = {"pixels": (TensorProto.UINT8, ["b", 1, 32, "w"]), "widths": (TensorProto.INT32, ["b"])}
    ends |= {"labels": (TensorProto.INT32, ["b", "t"]), "lengths": (TensorProto.INT32, ["b"])}
    ends |= {"scores": (TensorProto.FLOAT, ["b"])}
    values = [helper.make_tensor_value_info(name, *kind) for name, kind in ends.items()]
    nodes = [
        helper.make_node("Unsqueeze", ["widths", "axis"], ["labels"]),
        helper.make_node("Identity", ["widths"], ["lengths"]),
        helper.make_node("Cast", ["widths"], ["scores"], to=TensorProto.FLOAT),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "minimal", values[:2], values[2:], [axis])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def test_metadata_that_is_not_utf8_is_at_worst_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    good = minimal_onnx(CARD.to_metadata())
    path.write_bytes(good)
    assert htrcompress.load(path).card == CARD
    for spoilt in (
        good.replace("é".encode(), b"\xe9\xe9"),
        good.replace(b"htrcompress.stride", b"htrcompress.strid\xff"),
    ):
        path.write_bytes(spoilt)
        assert not survives(lambda: htrcompress.load(path))
    rng = np.random.default_rng(1)
    start = good.index(b"htrcompress")
    for _ in range(150):  # in the metadata, where text is
        path.write_bytes(good[:start] + damaged(rng, good[start:]))
        survives(lambda: htrcompress.load(path))
        survives(lambda: read_graph(path))


def test_the_fuzzed_graph_is_valid() -> None:
    model = onnx.load_model_from_string(minimal_onnx(CARD.to_metadata()))
    onnx.checker.check_model(model)
    assert json.loads(model.metadata_props[0].value)["name"] == "tiny"

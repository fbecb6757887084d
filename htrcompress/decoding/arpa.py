"""Reads and writes character n-grams as ARPA files, the format that every language-model toolkit exchanges.

A token is one character; the space is written `<space>`, since white space separates tokens. Logarithms are decimal.
Files of KenLM, SRILM and others are read as they come, compressed by gzip or not; what they leave out, `<unk>` and
`</s>`, is filled in.
"""

import gzip
import logging
import math
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from htrcompress.charset import Charset
from htrcompress.decoding.kneser_ney import BEGIN, END, SPECIAL, UNKNOWN, Order, check_order, symbol_bits
from htrcompress.decoding.symbols import SPACES as WRITTEN_SPACES
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

logger = logging.getLogger(__name__)
NAMES = {"<unk>": UNKNOWN, "<UNK>": UNKNOWN, "<s>": BEGIN, "</s>": END}
SPACES = (*WRITTEN_SPACES, "_")
"""How other toolkits write the space; the first that a model has stands for it, and those behind for themselves."""
GZIP, KENLM = b"\x1f\x8b", b"mmap lm "
"""What compressed files and KenLM's binary ones begin with."""
MOST_BYTES = 4 << 30
NEVER = -99.0
ROUNDED = 0.01
"""Log-probabilities are at most zero, but for what rounding makes of them."""


def write_arpa(path: Path, orders: Sequence[Order], charset: Charset) -> None:
    """Writes a model as `kneser_ney.train` gives it.

    Raises:
        HtrError: the file cannot be written.
    """
    bits = symbol_bits(len(charset.characters))
    tokens = ["<unk>", "<s>", "</s>", *("<space>" if c == " " else c for c in charset.characters)]
    parts = ["\\data\\\n", *(f"ngram {n}={len(order.keys)}\n" for n, order in enumerate(orders, 1))]
    for n, order in enumerate(orders, 1):
        parts.append(f"\n\\{n}-grams:\n")
        parts += _rows(order, n, n == len(orders), tokens, bits)
    write_atomic(path, "".join([*parts, "\n\\end\\\n"]).encode())


def _rows(order: Order, n: int, last: bool, tokens: list[str], bits: int) -> Iterator[str]:
    mask = (1 << bits) - 1
    rows = zip(order.keys.tolist(), order.probability.tolist(), order.backoff.tolist(), strict=True)
    for key, probability, backoff in rows:
        words = " ".join(tokens[key >> (bits * place) & mask] for place in reversed(range(n)))
        value = math.log10(probability) if probability > 0 else NEVER
        yield f"{value:.6f}\t{words}" + ("\n" if last or backoff == 1 else f"\t{math.log10(max(backoff, 1e-30)):.6f}\n")


def read_arpa(path: Path) -> tuple[list[Order], Charset]:
    """Reads a character model that any toolkit wrote.

    Raises:
        HtrError: the file cannot be read, is no ARPA file or a part of one, or its tokens are not single characters.
    """
    sections = _sections(_text(path), path)
    charset, places = _symbols([row[1] for row in sections[0]], path)
    check_order(len(sections), len(charset.characters))
    bits = symbol_bits(len(charset.characters))
    orders = [_order(rows, n, places, bits, path) for n, rows in enumerate(sections, 1)]
    orders[0] = _complete(orders[0], path)
    return orders, charset


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            start = file.read(len(KENLM))
        if start == KENLM:
            raise HtrError(f"{path} is a binary file of KenLM: give the ARPA file that it was built from")
        with gzip.open(path) if start.startswith(GZIP) else open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise HtrError(f"{path} holds more than {MOST_BYTES >> 30} GiB: prune the language model")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HtrError(f"{path} is not UTF-8 text: convert it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise HtrError(f"{path} is damaged or truncated: compress it again") from None
    except OSError as error:
        raise HtrError(f"cannot read the language model {path}: {error.strerror}") from None


def _sections(text: str, path: Path) -> list[list[list[str]]]:
    """The fields of every n-gram, by order: log-probability, the tokens joined, and the back-off where there is one."""
    sections: list[list[list[str]]] = []
    counts: dict[int, int] = {}
    for number, row in enumerate(text.split("\n"), 1):
        row = row.strip("\r\n")
        if row.strip() == "\\end\\":
            break
        if not sections and (count := re.fullmatch(r"ngram +(\d{1,2}) *= *(\d{1,18}) *", row)):
            counts[int(count[1])] = int(count[2])
        elif row.startswith("\\") and row.strip().endswith("-grams:"):
            sections.append([])
        elif sections and row.strip():
            fields = _by_tabs(row) if "\t" in row else _by_spaces(row, len(sections))
            if len(fields) not in (2, 3):
                raise HtrError(f"{path}, line {number}: expected a log-probability, tokens and a back-off weight")
            sections[-1].append(fields)
    if not sections or not sections[0]:
        raise HtrError(f"{path} is not an ARPA file: it has no \\1-grams:")
    found = {n: len(rows) for n, rows in enumerate(sections, 1)}
    if counts and {n: count for n, count in counts.items() if count} != {n: c for n, c in found.items() if c}:
        raise HtrError(f"{path} does not hold the n-grams that it announces: it was cut off or edited, export it again")
    return [rows for rows in sections if rows]


def _by_tabs(row: str) -> list[str]:
    return [field.strip(" ") or field for field in row.rstrip("\t").split("\t")]  # a token may be a space itself


def _by_spaces(row: str, n: int) -> list[str]:
    words = re.split(" +", row.strip(" "))
    return [words[0], " ".join(words[1 : n + 1]), *words[n + 1 :]]


def _symbols(tokens: list[str], path: Path) -> tuple[Charset, dict[str, int]]:
    """The charset of the unigrams, and the symbol of every token."""
    names = set(tokens) - NAMES.keys()
    space = next((token for token in SPACES if token in names), None) if " " not in names else None
    written = {token: " " if token == space else unicodedata.normalize("NFC", token) for token in names}
    long = [token for token, character in written.items() if len(character) != 1]
    if long:
        raise HtrError(
            f"{path} is not a language model of characters: it has the token {long[0]!r}; a character a token is needed"
        )
    if not written:
        raise HtrError(f"{path} knows no characters: it has no tokens beside <s>, </s> and <unk>")
    try:
        charset = Charset(tuple(sorted(written.values())))
    except HtrError as error:
        raise HtrError(f"{path} is not a language model of characters: {error}") from None
    places = {c: i + SPECIAL for i, c in enumerate(charset.characters)}
    return charset, NAMES | {token: places[character] for token, character in written.items()}


def _order(rows: list[list[str]], n: int, symbols: dict[str, int], bits: int, path: Path) -> Order:
    keys = np.zeros(len(rows), np.uint64)
    values = np.zeros((2, len(rows)))
    for place, (value, words, *backoff) in enumerate(rows):
        key = 0
        parts = words.split(" ")
        try:
            if len(parts) != n:
                raise ValueError
            for word in parts:
                key = key << bits | symbols[word]
            values[:, place] = float(value), float(backoff[0]) if backoff else 0.0
        except (KeyError, ValueError):
            raise HtrError(f"{path}: {words[:80]!r} is not an n-gram of order {n} over its unigrams") from None
        keys[place] = key
    if not np.isfinite(values).all():
        raise HtrError(f"{path} holds log-probabilities that are not finite numbers")
    if values[0].max(initial=0) > ROUNDED or values[1].max(initial=0) > -NEVER:
        raise HtrError(f"{path} holds numbers of order {n} that are no logarithms of probabilities: export it again")
    if len(np.unique(keys)) != len(keys):
        raise HtrError(f"{path} holds an n-gram of order {n} twice: export it again")
    order = np.argsort(keys)
    probability = np.where(values[0] <= NEVER, 0.0, 10.0 ** values[0])
    return Order(keys[order], probability[order], 10.0 ** values[1][order])


def _complete(unigrams: Order, path: Path) -> Order:
    """The unigrams with a probability for unknown characters and the end of a line, which models need not have.

    Without one, a search could never write a character that the model lacks, or would prefer lines that end anywhere.
    They get as much as the rarest character.
    """
    known = dict(zip(unigrams.keys.tolist(), unigrams.probability.tolist(), strict=True))
    backoff = dict(zip(unigrams.keys.tolist(), unigrams.backoff.tolist(), strict=True))
    rarest = min((p for key, p in known.items() if key >= SPECIAL and p > 0), default=1.0)
    for name, symbol in (("<unk>", UNKNOWN), ("</s>", END)):
        if not known.get(symbol, 0.0) > 0:
            logger.warning("%s gives no probability to %s: as much as to its rarest character is taken", path, name)
            known[symbol] = rarest
    keys = sorted(known)
    values = np.array([known[key] for key in keys]), np.array([backoff.get(key, 1.0) for key in keys])
    return Order(np.array(keys, np.uint64), *values)

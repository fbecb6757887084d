"""Reads and writes character n-grams as ARPA files, the format that every language-model toolkit exchanges.

A token is one character; the space is written `<space>`, since white space separates tokens. Logarithms are decimal.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from htrcompress.charset import Charset
from htrcompress.decoding.kneser_ney import BEGIN, END, SPECIAL, UNKNOWN, Order, check_order, symbol_bits
from htrcompress.errors import HtrError
from htrcompress.utils.io import write_atomic

NAMES = {"<unk>": UNKNOWN, "<UNK>": UNKNOWN, "<s>": BEGIN, "</s>": END}
SPACES = ("<space>", "<SPACE>", "\N{LOWER ONE EIGHTH BLOCK}", "|")
"""How other toolkits write the space; the bar counts only in a model that has no other."""
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
        HtrError: the file cannot be read, is no ARPA file, or its tokens are not single characters.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise HtrError(f"{path} is not UTF-8 text: convert it") from None
    except OSError as error:
        raise HtrError(f"cannot read the language model {path}: {error.strerror}") from None
    sections = _sections(text, path)
    charset, symbols = _symbols([row[1] for row in sections[0]], path)
    check_order(len(sections), len(charset.characters))
    bits = symbol_bits(len(charset.characters))
    return [_order(rows, n, symbols, bits, path) for n, rows in enumerate(sections, 1)], charset


def _sections(text: str, path: Path) -> list[list[list[str]]]:
    """The fields of every n-gram, by order: log-probability, the tokens joined, and the back-off where there is one."""
    sections: list[list[list[str]]] = []
    for number, row in enumerate(text.split("\n"), 1):
        row = row.strip("\r\n")
        if row.strip() == "\\end\\":
            break
        if row.startswith("\\") and row.strip().endswith("-grams:"):
            sections.append([])
        elif sections and row.strip():
            fields = row.split("\t") if "\t" in row else _by_spaces(row, len(sections))
            if len(fields) not in (2, 3):
                raise HtrError(f"{path}, line {number}: expected a log-probability, tokens and a back-off weight")
            sections[-1].append(fields)
    if not sections or not sections[0]:
        raise HtrError(f"{path} is not an ARPA file: it has no \\1-grams:")
    return sections


def _by_spaces(row: str, n: int) -> list[str]:
    words = row.split(" ")
    return [words[0], " ".join(words[1 : n + 1]), *words[n + 1 :]]


def _symbols(tokens: list[str], path: Path) -> tuple[Charset, dict[str, int]]:
    """The charset of the unigrams, and the symbol of every token."""
    names = set(tokens) - NAMES.keys()
    space = next((token for token in SPACES if token in names), None) if " " not in names else None
    written = {token: " " if token == space else token for token in names}
    long = [token for token, character in written.items() if len(character) != 1]
    if long:
        raise HtrError(
            f"{path} is not a language model of characters: it has the token {long[0]!r}; a character a token is needed"
        )
    charset = Charset(tuple(sorted(written.values())))
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
    order = np.argsort(keys)
    probability = np.where(values[0] <= NEVER, 0.0, 10.0 ** values[0])
    return Order(keys[order], probability[order], 10.0 ** values[1][order])

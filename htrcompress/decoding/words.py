"""Lists of words: a soft bonus for a user's own words in the beam search, and text for a language model.

A list is a text file with a word in each row, such as the names of an archive, and after a tab, where it is wanted, a
number. A word may hold spaces and other characters between its letters (`La Rochelle`, `O'Brien`).

`compile_words` makes an automaton of a list that a decoder follows beside an n-gram (`language.py`). While a text goes
along a listed word, every character scores one, times the word's number, so that a narrow beam keeps the word until it
is complete; all of it is taken back as soon as the text leaves the list, and stays where the word ends before something
that is no letter or digit. It is the automaton of Aho & Corasick (1975) over words, as contextual biasing has it
(Zhao et al. 2019): what a word's end leaves behind may be the beginning of another entry.
"""

import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htrcompress.charset import Charset, clean_text
from htrcompress.decoding.kneser_ney import END, SPECIAL, UNKNOWN
from htrcompress.decoding.ngram import ARRAYS, NGram
from htrcompress.errors import HtrError
from htrcompress.utils.io import read_rows

OUTSIDE, START = 0, 1
"""States: within a word that is not listed, and where a word may start."""
MOST_WORDS = 200_000
LONGEST = 200
"""Characters of a word, or of several that stand in one row."""
MOST_STATES = 900_000
"""Of an automaton: beginnings of words, which take about a kilobyte each while they are compiled."""
LARGEST_NUMBER = 1e12
SAMPLED = 400_000
"""Words of the text that stands for a list with frequencies."""
WORDS_A_LINE = 8


def read_words(path: Path) -> dict[str, float]:
    """The words of a list with their numbers, 1 where none is given.

    Raises:
        HtrError: the file cannot be read, is not UTF-8, holds no words or too many, a word is longer than any, or a
            number is not positive.
    """
    words: dict[str, float] = {}
    for number, row in enumerate(read_rows(path), 1):
        text, tab, value = row.partition("\t")
        if not (word := clean_text(text)):
            continue
        try:
            weight = float(value) if tab else 1.0
        except ValueError:
            weight = np.nan
        if not 0 < weight <= LARGEST_NUMBER:
            raise HtrError(
                f"{path}, line {number}: {value[:80]!r} is not a positive number up to {LARGEST_NUMBER:g}: write "
                "word<TAB>number"
            )
        if len(word) > LONGEST:
            raise HtrError(f"{path}, line {number} has {len(word)} characters, and a word at most {LONGEST}: split it")
        words[word] = max(weight, words.get(word, 0.0))
    if not words:
        raise HtrError(f"{path} holds no words: write one in each row")
    if len(words) > MOST_WORDS:
        raise HtrError(f"{path} holds more than {MOST_WORDS:,} words: keep the likely ones, or train a language model")
    return words


def lines_of(words: Mapping[str, float]) -> list[str]:
    """A text in which words are about as frequent as a list says, each at least once; the same at every call."""
    total = sum(words.values())
    many = [word for word, count in words.items() for _ in range(max(1, round(count * SAMPLED / total)))]
    random.Random(0).shuffle(many)
    return [" ".join(many[start : start + WORDS_A_LINE]) for start in range(0, len(many), WORDS_A_LINE)]


def is_letter(character: str) -> bool:
    """Whether a character is part of a word: a letter, a mark or a digit."""
    return unicodedata.category(character)[0] in "LMN"


@dataclass(slots=True)
class _Node:
    """A state: the beginning of some words.

    Attributes:
        children: symbol to state.
        fails_to: the state that it falls back to, which stands for a shorter end of the text.
        depth: characters of it.
        most: the largest number of the words that begin so.
        own: the number of the word that ends here; 0 if none does.
    """

    children: dict[int, int] = field(default_factory=dict)
    fails_to: int = OUTSIDE
    depth: int = 0
    most: float = 0.0
    own: float = 0.0

    @property
    def at_stake(self) -> float:
        """What was scored for the word on the way and is taken back if the text leaves the list."""
        return self.depth * self.most


def compile_words(words: Mapping[str, float], charset: Charset) -> NGram:
    """The automaton of a list; see above.

    Args:
        words: with their numbers, as `read_words` gives them.
        charset: the recogniser's; words with other characters can never be read and are left out.

    Returns:
        an automaton in the form of an n-gram, whose arcs hold scores in the place of log-probabilities.

    Raises:
        HtrError: no word is left, or they are too many and too long together.
    """
    symbol = {c: place + SPECIAL for place, c in enumerate(charset.characters)}
    on_page = {charset.on_page(word): n for word, n in words.items()}
    spelled = {tuple(symbol[c] for c in word): n for word, n in on_page.items() if set(word) <= symbol.keys()}
    if not spelled:
        raise HtrError("no word of the list can be read: all have characters that the recogniser does not know")
    between = {END} | {symbol[c] for c in charset.characters if not is_letter(c)}
    nodes = _tree(spelled)
    arcs: list[dict[int, tuple[float, int]]] = []
    every = (UNKNOWN, END, *symbol.values())
    arcs.append({s: (0.0, START if s in between and s != END else OUTSIDE) for s in every})
    for state, node in enumerate(nodes[START:], START):
        _link(nodes, state, between)
        kept = node.depth * node.own
        given = {s: (nodes[child].at_stake - node.at_stake, child) for s, child in node.children.items()}
        for s in between if node.own else ():
            score, after = given.get(s) or _follow(arcs, nodes, state, s)
            given[s] = score + kept, after
        arcs.append(given)
    return _automaton(nodes, arcs, charset)


def _tree(spelled: Mapping[tuple[int, ...], float]) -> list[_Node]:
    """The states, those of shorter beginnings first."""
    nodes, level = [_Node(), _Node()], {START: list(spelled)}
    while level:
        below: dict[int, list[tuple[int, ...]]] = {}
        for state, some in level.items():
            for word in some:
                depth = nodes[state].depth
                if depth == len(word):
                    nodes[state].own = spelled[word]
                    continue
                child = nodes[state].children.setdefault(word[depth], len(nodes))
                if child == len(nodes):
                    nodes.append(_Node(depth=depth + 1))
                nodes[child].most = max(nodes[child].most, spelled[word])
                below.setdefault(child, []).append(word)
        if len(nodes) > MOST_STATES:
            raise HtrError(f"the words of the list have more than {MOST_STATES:,} beginnings: keep the likely ones")
        level = below
    return nodes


def _link(nodes: Sequence[_Node], state: int, between: set[int]) -> None:
    """Tells the children of a state what they fall back to: the longest other beginning that the text ends with."""
    for s, child in nodes[state].children.items():
        shorter = nodes[state].fails_to if state != START else OUTSIDE
        while s not in nodes[shorter].children and shorter > START:
            shorter = nodes[shorter].fails_to
        found = nodes[shorter].children.get(s)
        nodes[child].fails_to = (START if s in between else OUTSIDE) if found is None else found


def _follow(
    arcs: Sequence[Mapping[int, tuple[float, int]]], nodes: Sequence[_Node], state: int, s: int
) -> tuple[float, int]:
    """The score of a symbol and the state behind it, from a state that may have no arcs yet or none for the symbol."""
    score = 0.0
    while state >= len(arcs) or s not in arcs[state]:
        shorter = nodes[state].fails_to
        score += nodes[shorter].at_stake - nodes[state].at_stake
        state = shorter
    return score + arcs[state][s][0], arcs[state][s][1]


def _automaton(nodes: Sequence[_Node], arcs: Sequence[Mapping[int, tuple[float, int]]], charset: Charset) -> NGram:
    kind = [("symbol", np.uint32), ("score", np.float64), ("after", np.int32)]
    rows = np.fromiter(((s, *step) for some in arcs for s, step in sorted(some.items())), kind)
    found = {
        "backoff_state": [node.fails_to for node in nodes],
        "backoff": [nodes[node.fails_to].at_stake - node.at_stake for node in nodes],
        "arc_start": np.concatenate(([0], np.cumsum([len(some) for some in arcs]))),
        "arc_symbol": rows["symbol"],
        "arc_log_probability": rows["score"],
        "arc_next": rows["after"],
    }
    arrays = {name: np.asarray(found[name], kind) for name, kind in ARRAYS.items()}
    return NGram(charset, max(node.depth for node in nodes), START, arrays, {})

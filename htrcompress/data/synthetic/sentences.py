"""What the synthetic handwriting says: English-like lines with names, dates, sums of money and made-up words.

A stable hash holds out a quarter of all words, and every line made only of other words is held out or not by
the same hash of its text. Training lines (`held_out=False`) never contain what is held out; lines for
validation and test always do, so the two share no text, however many of each are made.
"""

import re
import string
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

CHARSET = string.ascii_letters + string.digits + " !\"&'(),-./:;?£"
"""Every character that can occur in a line."""

SHORTEST, LONGEST = 2, 40
"""The bounds of a line's length in characters."""

WORD = re.compile(r"[A-Za-z]+")
"""What counts as one word when texts are compared."""

_HELD_OUT_PER_CENT = 25
_HELD_OUT_CHOICE = 0.7  # of the words drawn for validation and test; the glue words below bring the share down

_GLUE = (
    "the of and to a in that it is was for on with as his he be at by this had not are but from or have an they "
    "which were her she there been their we him has when who will more if out so up said what its than into them "
    "can only my your our me no do"
).split()
_GIVEN_NAMES = (
    "Abel Ada Agnes Albert Alfred Alice Amos Ann Arthur Beatrice Benjamin Bertha Caleb Caroline Cecil Charles Clara "
    "Daniel David Dorothy Ebenezer Edith Edward Eliza Ellen Emma Enoch Esther Fanny Felix Florence Francis Frederick "
    "George Grace Hannah Harriet Henry Hugh Ida Ines Isaac Isabel Ivor Jacob James Jane Jasper Joan John Joseph Kate "
    "Katharine Kenneth Laura Leonard Lewis Lucy Luke Mabel Martha Mary Matthew Maud Moses Nancy Nathan Nell Noah "
    "Olive Oliver Oscar Owen Patience Paul Peter Phoebe Quentin Rachel Ralph Rebecca Robert Rose Ruth Samuel Sarah "
    "Silas Simon Susan Theodore Thomas Toby Una Ursula Victor Vincent Walter William Winifred Xavier Yolande Zachary "
    "Zoe"
).split()
_SURNAMES = (
    "Abbott Ainsworth Appleby Ashdown Atkins Barlow Baxter Bellamy Birch Blackwood Bramley Brook Burgess Carver "
    "Chandler Clay Coates Crabtree Cross Dalby Dawson Denham Dixon Drake Eaton Eldridge Ellis Evans Farrow Fenwick "
    "Fielding Finch Fox Gale Garrick Gibbs Goddard Greaves Hadley Hale Harding Hawkins Heath Hobbs Hurst Ingram "
    "Irving Jarvis Jessop Jolly Judd Keeble Kemp Kirby Knox Lambert Langley Lockwood Lyle Marsh Maxwell Mercer Moxon "
    "Nash Naylor Norton Nutt Oakes Ogden Osborne Page Parrish Pike Potter Quayle Quick Quinn Radley Reeve Ridley Rudd "
    "Sawyer Selby Shaw Stubbs Tanner Thorpe Tucker Turner Underhill Unwin Upton Vane Vickers Vine Wade Webb Whitlock "
    "Wren Xander Yardley Yates York Young Zeal Zimmer"
).split()
_MONTHS = "January February March April May June July August September October November December".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_ABBREVIATIONS = (
    "Mr. Mrs. Dr. St. Esq. Rev. Capt. No. Co. Ltd. &c. viz. i.e. e.g. etc. do. inst. ult. vol. fol. p.m. a.m. "
    "P.S. N.B. c/o. A.D. B.A. M.P. R.N. J.P. oz. lbs. cwt. yds. ft. in. pp. ff. Q.C. Lieut. Col. Sgt. Wm. "
    "Jas. Thos. Chas. Xmas"
).split()
_ONSETS = (
    "b c d f g h j k l m n p qu r s t v w x y z bl br ch cl cr dr fl gr kl pr qu sc sh sk sp st th tr tw v wh z".split()
)
_VOWELS = "a e i o u a e i o u ai au ea ee ie oa oo ou".split()
_CODAS = "b ck d ff g k l ll m n nd ng nt p r rd rk rn s sk st t th v x zz".split() + [""] * 12


def is_held_out(text: str) -> bool:
    """Whether a word or a whole line is kept for validation and test; glue and one or two letters never are."""
    if len(text) < 3 or text.lower() in _GLUE:
        return False
    return zlib.crc32(text.lower().encode()) % 100 < _HELD_OUT_PER_CENT


def sentence(random: Random, held_out: bool) -> str:
    """One line of `SHORTEST` to `LONGEST` characters from `CHARSET`, for training or for validation and test.

    Args:
        random: where the choices come from.
        held_out: whether the line is for validation and test.
    """
    while True:
        text = random.choices(_KINDS, _KIND_WEIGHTS)[0](random, held_out)
        is_for_test = is_held_out(text) or any(is_held_out(word) for word in WORD.findall(text))
        if is_for_test == held_out and SHORTEST <= len(text) <= LONGEST:
            return text


@lru_cache
def _words() -> tuple[list[str], list[str]]:
    """The word list in two parts: what anyone may use, and what is held out."""
    words = Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split()
    return [word for word in words if not is_held_out(word)], [word for word in words if is_held_out(word)]


def _content_word(random: Random, held_out: bool) -> str:
    common, rare = _words()
    word = random.choice(rare if held_out and random.random() < _HELD_OUT_CHOICE else common)
    if random.random() < 0.04:
        return f"{word}-{random.choice(common)}"
    return f"{word}'s" if random.random() < 0.04 else word


def _made_up_word(random: Random, held_out: bool) -> str:
    """A pronounceable word that is in no dictionary, rich in the letters that English uses least."""
    while True:
        syllables = random.choices((1, 2, 3), (4, 5, 1))[0]
        parts = (random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS) for _ in range(syllables))
        word = "".join(parts)
        if len(word) > 2 and is_held_out(word) == held_out:
            return word


def _phrase(random: Random, held_out: bool) -> str:
    """Words and glue words in turn, up to a length drawn for the line, with punctuation and capitals."""
    length = min(LONGEST - 2, max(SHORTEST, round(random.gauss(27, 8))))
    words: list[str] = []
    glue = random.random() < 0.5
    while True:
        word = random.choice(_GLUE) if glue else _content_word(random, held_out)
        if random.random() < 0.06 and not glue:
            word = _made_up_word(random, held_out)
        if words and len(" ".join(words)) + 1 + len(word) > length:
            break
        words.append(word)
        glue = not glue and random.random() < 0.6
    words = [_dressed(random, word) for word in words[:-1]] + words[-1:]
    text = " ".join(words)
    if random.random() < 0.35:
        text = text[0].upper() + text[1:]
    return text + random.choices(("", ".", ",", ";", ":", "!", "?", "-"), (60, 18, 8, 2, 2, 4, 4, 2))[0]


def _dressed(random: Random, word: str) -> str:
    """A word inside a line: now and then a capital, a comma, quotation marks or brackets around it."""
    if random.random() < 0.07:
        word = word.upper() if random.random() < 0.3 else word.capitalize()
    form = random.choices(("{}", "{},", "{};", '"{}"', "({})", "{} &", "{}:"), (100, 7, 1, 2, 2, 2, 1))[0]
    return form.format(word)


def _name(random: Random, held_out: bool) -> str:
    initial = random.choice(string.ascii_uppercase)
    given, surname = random.choice(_GIVEN_NAMES), random.choice(_SURNAMES)
    if random.random() < 0.3:
        surname = _made_up_word(random, held_out).capitalize()
    forms = (f"{given} {surname}", f"{given} {initial}. {surname}", f"Mr. {surname}", f"Mrs. {given} {surname}",
             f"{surname}, {given}", f"{surname} & Son", f"{initial}. {surname}", f"Dear {given},",
             f"{surname} ({_content_word(random, held_out)})", f'"{given}"')  # fmt: skip
    return random.choice(forms)


def _date(random: Random, held_out: bool) -> str:
    day, year = random.randint(1, 31), random.randint(1700, 1949)
    suffix = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    month, weekday = random.choice(_MONTHS), random.choice(_DAYS)
    place = _made_up_word(random, held_out).capitalize()
    forms = (f"{day} {month} {year}", f"{month} {day}{suffix}, {year}", f"{weekday} {day}{suffix} {month}",
             f"{day}/{random.randint(1, 12)}/{year}", f"{place}, {day} {month[:3]}. {year}", f"{month} {year}",
             f"{random.randint(1, 12)}:{random.randint(0, 59):02d} {random.choice('ap')}.m.", str(year))  # fmt: skip
    return random.choice(forms)


def _account(random: Random, held_out: bool) -> str:
    """A line of a ledger: a thing and what it cost, a quantity, a sum."""
    pounds, shillings, pence = random.randint(1, 999), random.randint(0, 19), random.randint(0, 11)
    thing, number = _content_word(random, held_out), random.randint(2, 9999)
    forms = (f"{thing} £{pounds}.{shillings}.{pence}", f"£{pounds}", f"£{pounds}-{shillings}-{pence}",
             f"To {thing} & {_content_word(random, held_out)} £{pounds}", f"{number} {thing}", f"No. {number}",
             f"{thing}: {shillings}/{pence}", f"p. {number}", f"{number},{pounds:03d}", f"{thing} ({number})",
             f"{thing} {shillings}s. {pence}d.", f"{pounds}/{number}", f"{thing} - {pounds} lbs.",
             f"{random.random() * 100:.2f} per cent")  # fmt: skip
    return random.choice(forms)


def _shorthand(random: Random, held_out: bool) -> str:
    """Abbreviations, initials and capitals."""
    short, word = random.choice(_ABBREVIATIONS), _content_word(random, held_out)
    letters = "".join(random.choices(string.ascii_uppercase, k=random.randint(2, 6)))
    forms = (f"{short} {_name(random, held_out)}", f"{word}, {short}", f"{short} {random.randint(2, 99)}", letters,
             ".".join(letters) + ".", f"{word.upper()} {letters}", f"{letters} {random.randint(1, 999)}",
             f"{word} {short}", word, f"{word.upper()}!")  # fmt: skip
    return random.choice(forms)


def _made_up_phrase(random: Random, held_out: bool) -> str:
    words = [_made_up_word(random, held_out) for _ in range(random.randint(1, 4))]
    case = random.choices((str.lower, str.capitalize, str.upper), (5, 3, 2))[0]
    text = " ".join(_dressed(random, case(word)) for word in words)
    return text + random.choice(("", "", "", ".", "?", "!", ";"))


_KINDS: Sequence[Callable[[Random, bool], str]] = (_phrase, _name, _date, _account, _shorthand, _made_up_phrase)
_KIND_WEIGHTS = (64, 7, 6, 8, 5, 10)

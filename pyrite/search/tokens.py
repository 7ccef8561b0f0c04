"""The tokens of a query: words, quotation marks of many languages, fields and operators."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    PREFIX = auto()
    PHRASE = auto()
    #: A name with a colon; its value is the next token.
    FIELD = auto()
    OPEN = auto()
    CLOSE = auto()
    AND = auto()
    OR = auto()
    NOT = auto()
    MINUS = auto()
    #: A quotation mark that nothing closes.
    UNCLOSED = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and its text where that matters."""

    kind: Kind
    text: str = ""


_OPERATORS = {"AND": Kind.AND, "OR": Kind.OR, "NOT": Kind.NOT}
#: Any of these closes what another one opens: “English”, „German“, ”Swedish”.
_DOUBLE = '"“”„‟\N{FULLWIDTH QUOTATION MARK}〝〞〟'
_CLOSERS = {
    **dict.fromkeys(_DOUBLE, _DOUBLE),
    "«": "»",
    "»": "«",
    "「": "」",
    "『": "』",
    "｢": "｣",
    "《": "》",
}
#: These end a word wherever they stand; a straight mark may be an inch.
_ALWAYS = set(_CLOSERS) - {'"'}
_FIELD = re.compile(r"([^\W\d_][\w-]*):(?=[^\s:/\\)])")
_FIRST_IDEOGRAPH = "\u2e80"
_STARRED = re.compile(r"^\*\w|\w\*\w")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a query, in order."""
    # Positions from which on there is no closing mark: no text is searched twice for one.
    place, unclosed = 0, set[str]()
    bare = False  # whether a field's value begins here, in which signs are no operators
    while place < len(text):
        sign = text[place]
        if _blank(sign):
            place += 1
        elif sign in "()":
            yield Token(Kind.OPEN if sign == "(" else Kind.CLOSE)
            place += 1
        elif sign in _CLOSERS:
            end = -1 if sign in unclosed else _closing(text, place)
            if end < 0:
                unclosed.add(sign)
                yield Token(Kind.UNCLOSED)
                place += 1
            else:
                phrase = _phrase(text[place + 1 : end])
                if _says_something(phrase):
                    yield Token(Kind.PHRASE, phrase)
                place = end + 1
            bare = False
        elif not bare and sign == "-" and _negates(text, place + 1):
            yield Token(Kind.MINUS)
            place += 1
        elif not bare and (named := _FIELD.match(text, place)):
            yield Token(Kind.FIELD, named[1])
            place, bare = named.end(), True
        else:
            end = _end_of_word(text, place)
            yield from _word(text[place:end], bare=bare)
            place, bare = end, False


def _word(word: str, *, bare: bool) -> Iterator[Token]:
    if not bare and word in _OPERATORS:
        yield Token(_OPERATORS[word])
    elif len(word) > 1 and word.endswith("*") and word[-2].isalnum() and "*" not in word[:-1]:
        yield Token(Kind.PREFIX, word[:-1])
    elif not bare and word[0] == "+" and word[1:2].isalpha():
        # As Lucene has it: the word must be there.
        yield Token(Kind.PHRASE, word[1:])
    elif bare or _says_something(word):
        yield Token(Kind.WORD, word)


def plain_words(text: str, filters: Collection[str]) -> Iterator[Token]:
    """The words of a long text, in which signs are punctuation, and the filters in it."""
    for given in text.translate(_SPACES).split():
        word = given.lstrip("-+(*").rstrip("*")
        named = _FIELD.match(word)
        if named and named[1].lower() in filters:
            yield Token(Kind.FIELD, word)
            continue
        for part in (word[: named.end(1)], word[named.end() :]) if named else (word,):
            plain = part.lstrip("-+(*")
            if _says_something(plain):
                yield Token(Kind.WORD, plain.lower() if plain in _OPERATORS else plain)


def hint_of_stars(text: str) -> Iterator[str]:
    """Say that a star stands at the end of a word, where one stands elsewhere."""
    if any(_STARRED.search(word) for word in text.split() if word.count("*") == 1):
        yield "a star stands at the end of a word, as in back*"


def _phrase(text: str) -> str:
    return " ".join(text.translate(_SPACES).split())


def _blank(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) == "Cc"


def _says_something(word: str) -> bool:
    """Whether there is more in it than punctuation."""
    return any(sign.isalnum() or sign > "\x7f" for sign in word)


def _negates(text: str, place: int) -> bool:
    following = text[place : place + 1]
    return bool(following) and (following.isalnum() or following in _CLOSERS or following == "(")


def _closing(text: str, place: int) -> int:
    """Where what is opened here is closed; -1 if nowhere."""
    closers = _CLOSERS[text[place]]
    found = re.compile(f"[{re.escape(closers)}]").search(text, place + 1)
    return -1 if found is None else found.start()


def _end_of_word(text: str, start: int) -> int:
    """Where a word ends: at a blank, a quotation mark, or a parenthesis of others."""
    opened: list[int] = []
    place = start
    while place < len(text) and not _blank(text[place]):
        sign = text[place]
        if sign == "(":
            opened.append(place)
        elif sign == ")":
            if not opened:
                break
            opened.pop()
        elif sign in _ALWAYS or (sign == '"' and text[place - 1] >= _FIRST_IDEOGRAPH):
            break
        place += 1
    return max(opened[0], start + 1) if opened else max(place, start + 1)


_SPACES = {
    **dict.fromkeys((*range(32), *range(127, 160)), " "),
    **{ord(sign): " " for sign in {*_CLOSERS, *"".join(_CLOSERS.values())}},
}

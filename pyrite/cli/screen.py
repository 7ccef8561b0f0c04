"""What a person sees on a terminal: lines that break between words, and nothing that steers it."""
# ruff: noqa: PLC0415 - what measures letters is imported only where there are other than ASCII

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TextIO

#: How wide a terminal is that does not tell, in columns.
_USUAL_WIDTH = 80

#: However wide the margin is, a line's text has so many columns.
_LEAST_ROOM = 20

#: A word up to this length is never broken in a table.
_LONGEST_WHOLE = 16

#: Columns between two cells of a row.
_GAP = 3

#: Control characters but tab and newline, and what turns the direction of the text around it.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_MARK = re.compile(r"\x1b\[[01]m")

#: Between what a line may be broken: blanks, the letters of writing without them, and words.
_WIDE = r"\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_PART = re.compile(rf"\s+|[{_WIDE}]|[^\s{_WIDE}]+")


class Bold(str):
    """A text to be emphasised where a person looks on."""

    __slots__ = ()


def visible(text: str) -> str:
    r"""The text with what would steer the terminal written out, as in ``\x1b``."""
    return _STEERING.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


def emphasised(part: str) -> str:
    """The text as a terminal is to have it."""
    text = visible(part)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return f"{_BOLD}{text}{_PLAIN}" if isinstance(part, Bold) and not plain else text


def width_of(stream: TextIO) -> int:
    """How many columns the terminal at the stream's other end has."""
    with suppress(KeyError, ValueError):
        if (given := int(os.environ["COLUMNS"])) > 0:
            return given
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    return _USUAL_WIDTH


def wrapped(text: str, margin: str, width: int) -> Iterator[str]:
    """The lines of a text that stands right of a margin, broken between words.

    A word that is too long for a line is left whole, so that it can be copied.

    Args:
        text: what :func:`emphasised` has made.
        margin: stands before the first line, and as many blanks before the others.
        width: of the terminal, in columns.
    """
    room = max(_LEAST_ROOM, width - columns(margin))
    for line in text.split("\n"):
        for each in _broken(line.expandtabs(), room):
            yield (margin + each).rstrip()
            margin = " " * columns(margin)


def _broken(line: str, room: int) -> Iterator[str]:
    """The pieces of a line that have room."""
    piece, used, has_word = "", 0, False
    for part in _PART.findall(line):
        size = columns(part)
        if has_word and not part.isspace() and used + size > room:
            yield piece.rstrip()
            piece, used = "", 0
        piece += part
        used += size
        has_word |= bool(size) and not part.isspace()
    yield piece


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    shown = _MARK.sub("", text)
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len

    return cell_len(shown)


def widths_of(rows: Iterable[Sequence[str]], width: int) -> list[int] | None:
    """How wide the columns of a table are to be; None where it does not fit.

    It fits if words, up to some length, need not be broken. The widest columns give way.
    """
    natural: list[int] = []
    least: list[int] = []
    for row in rows:
        natural = natural or [0] * len(row)
        least = least or [0] * len(row)
        for place, cell in enumerate(row):
            natural[place] = max(natural[place], *map(columns, cell.split("\n")))
            longest = max(map(columns, cell.split()), default=0)
            least[place] = max(least[place], min(longest, _LONGEST_WHOLE))
    room = width - _GAP * (len(natural) - 1)
    if sum(least) > room:
        return None
    while sum(natural) > room:
        giving = [place for place in range(len(natural)) if natural[place] > least[place]]
        natural[max(giving, key=natural.__getitem__)] -= 1
    return natural

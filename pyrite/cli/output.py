"""How the command speaks: tables for people, tab-separated lines for pipes, JSON for programs.

What a note says may have been written by anybody. On a terminal it is shown as letters and
nothing else: see :func:`pyrite.cli.screen.visible`. A pipe gets every byte as it is.
"""
# ruff: noqa: PLC0415, T201 - rich and msgspec are imported only to draw and to serialize

from __future__ import annotations

import codecs
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from pyrite.cli.screen import columns, emphasised, visible, width_of, widths_of, wrapped

if TYPE_CHECKING:
    from pyrite.api.base import Answer
    from pyrite.errors import UnreadableFileError

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


#: What takes longer than this is announced, in seconds.
_SLOW_S = 1.0


#: Of skipped files, so many are named.
_LISTED = 20


def say(*parts: str, margin: str = "", wrap: bool = True, flush: bool = False) -> None:
    """Print a line of the answer.

    Args:
        parts: the text; what is :class:`~pyrite.cli.screen.Bold` is emphasised on a terminal.
        margin: stands before the text. On a terminal, lines that go on are indented as far.
        wrap: whether a terminal shows it broken between words.
        flush: whether it is written at once.
    """
    _print(sys.stdout, parts, margin, wrap=wrap, flush=flush)


def note(text: str, *, margin: str = "") -> None:
    """Print a line beside the answer: progress, warnings, what to do next."""
    _print(sys.stderr, [text], margin, wrap=True, flush=True)


def note_skipped(problems: Sequence[UnreadableFileError]) -> None:
    """Note which files are skipped and why: the first of them, and where the rest is named."""
    for problem in problems[:_LISTED]:
        note(f"skipped {problem}", margin="  ")
    if len(problems) > _LISTED:
        note(f"and {len(problems) - _LISTED:,} more; --json lists all", margin="  ")


def _print(stream: TextIO, parts: Iterable[str], margin: str, *, wrap: bool, flush: bool) -> None:
    if not stream.isatty():
        print(margin, *parts, sep="", file=stream, flush=flush)
        return
    text = "".join(map(emphasised, parts))
    lines = wrapped(text, visible(margin), width_of(stream)) if wrap else [visible(margin) + text]
    print(*lines, sep="\n", file=stream, flush=flush)


@contextmanager
def announced(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Say what takes so long, if it does."""
    timer = threading.Timer(_SLOW_S, note, [text])
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def print_json(answer: Answer | Mapping[str, Answer]) -> None:
    """Print an object of the API as JSON."""
    from pyrite.api.base import plain

    print(json.dumps(plain(answer), ensure_ascii=_escapes(), indent=2))


def print_json_line(answer: Answer | Mapping[str, object]) -> None:
    """Print an object as JSON in one line, at once: one of those that a program follows."""
    from pyrite.api.base import plain

    print(json.dumps(plain(answer), ensure_ascii=_escapes()), flush=True)


def _escapes() -> bool:
    """Whether letters other than ASCII could not be written, and JSON has to escape them."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headers; without them, separated by tabs, where nobody looks on.

    Where a terminal is too narrow for it, each row becomes a block of lines.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    shown = [[visible(cell) for cell in row] for row in rows]
    width = width_of(sys.stdout)
    widths = widths_of([headers, *shown], width)
    if widths is None:
        _blocks(headers, shown)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header, wide in zip(headers, widths, strict=True):
        drawn.add_column(header, overflow="fold", width=wide)
    for row in shown:
        drawn.add_row(*map(Text, row))
    Console(width=width).print(drawn)


def _blocks(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of a header and a cell."""
    wide = max(map(columns, headers)) + 2
    for row in rows:
        for header, cell in zip(headers, row, strict=True):
            if cell:
                say(cell, margin=f"{header:{wide}}")
        say()


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 entry``, ``1,045 entries``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def entries(number: int) -> str:
    """That many entries, in words."""
    return count(number, "entry", "entries")


def duration(seconds: float) -> str:
    """A length of time, to two units at most."""
    if seconds < 1:
        return "less than a second"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def moment(at: float) -> str:
    """A point in time, in the person's own zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))

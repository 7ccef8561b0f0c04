"""How the command speaks: tables for people, tab-separated lines for pipes, JSON for programs."""
# ruff: noqa: PLC0415, T201 - rich is imported only to draw; printing is this module's business

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


#: What takes longer than this is announced, in seconds.
_SLOW_S = 1.0


def say(text: str = "", *, flush: bool = False) -> None:
    """Print a line of the answer."""
    print(text, flush=flush)


def note(text: str) -> None:
    """Print a line beside the answer: progress, warnings, what to do next."""
    print(text, file=sys.stderr, flush=True)


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


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_line(value: object) -> None:
    """Print a value as JSON in one line, at once: one of those that a program follows."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headers; without them, separated by tabs, where nobody looks on."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header in headers:
        drawn.add_column(header, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def bold(text: str) -> str:
    """The text emphasised, where a person looks on at a terminal that can show it."""
    given = os.environ.get
    plain = not sys.stdout.isatty() or given("NO_COLOR") or given("TERM") == "dumb"
    return text if plain else f"\x1b[1m{text}\x1b[0m"


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

"""Progress bars on a terminal; plain lines, now and then, anywhere else."""
# ruff: noqa: PLC0415 - rich is imported only where there is a terminal to draw on

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrite.cli.output import duration, note

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two plain lines.
PLAIN_EVERY_S = 5.0

#: How much of the recent past the rate is taken from, in seconds.
_RATE_PERIOD_S = 60.0

#: On a terminal of fewer columns there is no bar, and no pace.
_NARROW = 70

#: How many columns a count takes at most, and the shortest bar with a pace.
_COUNT, _PACE = 20, 34


@contextmanager
def counting(text: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function to be told how many of how many are done, while it is being shown."""
    bar = Bar(text, quiet=quiet)
    with bar:
        yield bar.show


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast something goes, where its items are too unequal for their number to say."""

    #: In words.
    rate: str
    left_s: float


class Bar:
    """Shows how much of something is done."""

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self._text = text
        self._quiet = quiet
        self._drawn: Progress | None = None
        self._started = self._printed = time.monotonic()
        self._said: tuple[int, int, str] | None = None

    def __enter__(self) -> Bar:
        if sys.stderr.isatty() and not self._quiet:
            self._drawn = _draw()
            self._drawn.start()
            self._task = self._drawn.add_task(self._text, total=None, pace=None)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar off the screen."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None

    def show(
        self, done: int, total: int, text: str | None = None, pace: Pace | None = None
    ) -> None:
        """So many of so many are done; without a pace, it is taken from their numbers."""
        if self._drawn is not None:
            self._drawn.update(
                self._task, completed=done, total=total, description=text or self._text, pace=pace
            )
        elif not self._quiet and time.monotonic() - self._printed >= PLAIN_EVERY_S:
            state = done, total, text or self._text
            # What stands still is said once.
            if state != self._said:
                self._said = state
                self._printed = time.monotonic()
                note(self._line(*state, pace))

    def _line(self, done: int, total: int, text: str, pace: Pace | None) -> str:
        elapsed = time.monotonic() - self._started
        if pace is None and done and elapsed:
            rate = done / elapsed
            pace = Pace(f"{rate:.1f}/s", (total - done) / rate)
        line = f"{text}: {done:,} of {total:,}"
        return line if pace is None else f"{line}, {pace.rate}, {duration(pace.left_s)} left"


def _draw() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            pace: Pace | None = task.fields["pace"]
            if pace is not None:
                return Text(pace.rate)
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s")

    class LeftColumn(TimeRemainingColumn):
        """How long it will take."""

        def render(self, task: Task) -> Text:
            pace: Pace | None = task.fields["pace"]
            return super().render(task) if pace is None else Text(f"{duration(pace.left_s)} left")

    console = Console(stderr=True)
    is_narrow = console.width < _NARROW
    # Where there is too little room, the text is cut, and never a number.
    room = max(console.width - (_COUNT if is_narrow else _COUNT + _PACE), 1)
    whole = Column(no_wrap=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=room)),
        MofNCompleteColumn(table_column=whole),
    ]
    if not is_narrow:
        columns.insert(1, BarColumn(bar_width=None))
        columns += [RateColumn(table_column=whole), LeftColumn(compact=True, table_column=whole)]
    return Progress(*columns, console=console, transient=True, speed_estimate_period=_RATE_PERIOD_S)

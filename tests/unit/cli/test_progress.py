"""Progress is a bar on a terminal and a line now and then anywhere else."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from pyrite.cli import progress
from pyrite.cli.progress import Bar, Pace, counting


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_pipe_gets_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("embedding") as bar:
        bar.show(0, 100)
        clock.now += progress.PLAIN_EVERY_S - 0.1
        bar.show(1, 100)
        assert capsys.readouterr().err == ""
        clock.now += 0.1
        bar.show(10, 1000)
        assert capsys.readouterr().err == "embedding: 10 of 1,000, 2.0/s, 8 min 15 s left\n"
        bar.show(11, 1000)
        assert capsys.readouterr().err == ""
        clock.now += progress.PLAIN_EVERY_S
        bar.show(0, 5, "loading the model")
        assert capsys.readouterr().err == "loading the model: 0 of 5\n"
    assert capsys.readouterr() == ("", "")


def test_what_stands_still_is_said_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("embedding") as bar:
        for _ in range(8):
            clock.now += progress.PLAIN_EVERY_S
            bar.show(0, 60, "loading the model")
        clock.now += progress.PLAIN_EVERY_S
        bar.show(1, 60, "loading the model", Pace("3/s", 90.0))
    assert capsys.readouterr().err.splitlines() == [
        "loading the model: 0 of 60",
        "loading the model: 1 of 60, 3/s, 1 min 30 s left",
    ]


def test_a_pace_that_is_known_goes_before_one_by_number(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Bar("embedding") as bar:
        clock.now += progress.PLAIN_EVERY_S
        bar.show(1, 2, pace=Pace("3,000 tokens/s", 90.0))
    assert capsys.readouterr().err == "embedding: 1 of 2, 3,000 tokens/s, 1 min 30 s left\n"


def test_quiet_is_quiet(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with counting("reading", quiet=True) as show:
        clock.now += 100
        show(1, 2)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A stderr that somebody looks at."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Have somebody look on. Not a fixture: pytest sets stderr anew once those are made."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Bar("embedding") as bar:
        bar.show(3, 10)
        bar.show(4, 10, "stopping")
    drawn = screen.getvalue()
    assert "stopping" in drawn
    assert "4/10" in drawn
    assert drawn.endswith("\x1b[2K")


@pytest.mark.parametrize("width", [30, 40, 72])
def test_a_narrow_terminal_has_every_number_in_one_row(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(width))
    with Bar("reading") as bar:
        bar.show(123_456, 500_000, "building the graph of neighbours", Pace("4,123/s", 3700.0))
        bar.stop()
    drawn = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", screen.getvalue())
    rows = [row for row in re.split("[\r\n]+", drawn) if "building" in row]
    assert rows
    for row in rows:
        assert "123456/500000" in row
        assert len(row) <= width


def test_a_bar_may_be_stopped_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    bar = Bar("embedding")
    with bar:
        bar.stop()
        bar.stop()
        bar.show(1, 2)


def test_a_quiet_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with Bar("embedding", quiet=True) as bar:
        bar.show(3, 10)
    assert screen.getvalue() == ""

"""How the command speaks: numbers in words, tables for people, tabs for pipes."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable

import pytest

from pyrite.cli import output
from pyrite.cli.output import (
    announced,
    count,
    duration,
    entries,
    moment,
    note,
    note_skipped,
    print_json,
    print_json_line,
    say,
    table,
)
from pyrite.cli.screen import Bold
from pyrite.errors import UnreadableFileError

LookOn = Callable[[int], None]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a second"),
        (0.99, "less than a second"),
        (1, "1 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (61, "1 min 1 s"),
        (119, "1 min 59 s"),
        (3600, "1 h 0 min"),
        (3661, "1 h 1 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_is_said_to_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_no_length_of_time_has_sixty_of_a_unit() -> None:
    for tenths in range(100_000):
        words = duration(tenths / 10).split()
        assert "60" not in words
    assert "60" not in duration(7199.9).split()


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (1045, "1,045 entries")],
)
def test_a_number_agrees_with_its_noun(number: int, words: str) -> None:
    assert entries(number) == words


def test_a_regular_noun_needs_no_plural() -> None:
    assert (count(1, "failure"), count(2, "failure")) == ("1 failure", "2 failures")


def test_a_moment_is_in_the_persons_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-5")
    time.tzset()
    try:
        assert moment(0) == "1970-01-01 05:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_answer_and_a_note_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    say("answer")
    note("beside")
    assert capsys.readouterr() == ("answer\n", "beside\n")


def test_what_takes_long_is_said_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    texts: list[str] = []

    def listen(text: str) -> None:
        texts.append(text)
        said.set()

    monkeypatch.setattr(output, "note", listen)
    monkeypatch.setattr(output, "_SLOW_S", 0.0)
    with announced("loading ..."):
        assert said.wait(30)
    assert texts == ["loading ..."]


def test_what_is_quick_or_quiet_needs_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    monkeypatch.setattr(output, "_SLOW_S", 3600.0)
    with announced("loading ..."):
        pass
    monkeypatch.setattr(output, "_SLOW_S", 0.0)
    with announced("loading ...", quiet=True):
        assert threading.active_count() <= before + 1  # the one before may still be ending
    with pytest.raises(ZeroDivisionError), announced("loading ...", quiet=True):
        raise ZeroDivisionError
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def look_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Somebody looks on, at a terminal so many columns wide. To be called by the test itself."""

    def begin(width: int) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)

    return begin


def test_a_word_is_emphasised_only_where_that_can_be_seen(
    look_on: LookOn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        say("a ", Bold("word"))
        return capsys.readouterr().out

    assert said() == "a word\n"  # into a pipe
    look_on(80)
    assert said() == "a \x1b[1mword\x1b[0m\n"
    monkeypatch.setenv("TERM", "dumb")
    assert said() == "a word\n"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert said() == "a word\n"


EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b1m \u202eback\u2066 \x7f"
SHOWN = r"\x1b[31mred\x1b]0;title\x07 \x9b1m \u202eback\u2066 \x7f"


def test_nothing_that_is_shown_steers_the_terminal(
    look_on: LookOn, capsys: pytest.CaptureFixture[str]
) -> None:
    look_on(200)
    say(EVIL, margin="  ")
    say(Bold("\x1b[1m"), wrap=False)
    note(EVIL)
    assert capsys.readouterr() == (f"  {SHOWN}\n\x1b[1m\\x1b[1m\x1b[0m\n", f"{SHOWN}\n")
    table(("name",), [(EVIL,)])
    assert SHOWN in capsys.readouterr().out
    look_on(12)
    table(("name",), [(EVIL,)])
    assert "\x1b" not in capsys.readouterr().out


def test_a_pipe_gets_every_byte(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, margin="  ")
    note(EVIL)
    table(("name",), [(EVIL,)])
    assert capsys.readouterr() == (f"  {EVIL}\n{EVIL}\n", f"{EVIL}\n")


def test_a_terminal_gets_lines_that_break_between_words(
    look_on: LookOn, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "one two three four five six seven"
    say(words, margin="  1  ")
    assert capsys.readouterr().out == f"  1  {words}\n"
    look_on(28)
    say(words, margin="  1  ")
    assert capsys.readouterr().out == "  1  one two three four five\n     six seven\n"
    say(words, wrap=False)
    assert capsys.readouterr().out == f"{words}\n"
    note(words)
    assert capsys.readouterr().err == "one two three four five six\nseven\n"


def test_of_skipped_files_the_first_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [UnreadableFileError(f"{number}.md", "no text", 3) for number in range(1021)]
    note_skipped(problems[:20])
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (20, "  skipped 19.md:3: no text")
    note_skipped(problems)
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (21, "  and 1,001 more; --json lists all")


def test_where_a_letter_cannot_be_written_json_escapes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    print_json({"title": "日本 🎉 ñ"})
    print_json_line({"title": "日本 🎉 ñ"})
    sys.stdout.flush()
    assert raw.getvalue().isascii()
    one, other = raw.getvalue().decode().split("}\n")[:2]
    assert json.loads(one + "}") == json.loads(other + "}") == {"title": "日本 🎉 ñ"}


def test_json_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"title": "Größe 日本"})
    out = capsys.readouterr().out
    assert "Größe 日本" in out
    assert json.loads(out) == {"title": "Größe 日本"}


def test_a_pipe_gets_one_line_a_row_separated_by_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    table(("a", "b"), [("1", "two\twords\nand lines"), ("3", "")])
    assert capsys.readouterr().out == "1\ttwo words and lines\n3\t\n"


def test_a_person_gets_headers_and_markup_as_it_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    table(("name", "what"), [("x", "[bold]not markup[/bold]")])
    out = capsys.readouterr().out
    assert out.index("name") < out.index("what") < out.index("x")
    assert "[bold]not markup[/bold]" in out


def test_where_a_table_has_no_room_each_row_is_a_block(
    look_on: LookOn, capsys: pytest.CaptureFixture[str]
) -> None:
    look_on(34)
    table(
        ("knowledge base", "id", "tags"),
        [("notes", "ops/backups-of-the-database", "a, b"), ("notes", "b", "")],
    )
    assert capsys.readouterr().out == (
        "knowledge base  notes\n"
        "id              ops/backups-of-the-database\n"
        "tags            a, b\n"
        "\n"
        "knowledge base  notes\n"
        "id              b\n"
        "\n"
    )

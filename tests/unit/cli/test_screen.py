"""What a terminal is sent: whole words, in as many columns as there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.cli.screen import Bold, columns, emphasised, visible, widths_of, wrapped


def test_line_ends_and_tabs_are_no_harm() -> None:
    assert visible("a\r\nb\tc\n") == "a\nb\tc\n"
    assert visible("a\rb") == r"a\rb"


@given(st.text())
def test_what_is_visible_is_sent_as_it_is(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(letter.isprintable() or ord(letter) > 0x9F or letter in "\n\t" for letter in shown)


def test_each_line_keeps_the_margin() -> None:
    lines = list(wrapped("one two three four\n\n  five six", " 1 ", 12))
    assert lines == [" 1 one two three four", "", "     five six"]  # less room than this is none
    lines = list(wrapped("one two three four five six", " 1 ", 25))
    assert lines == [" 1 one two three four", "   five six"]


def test_a_word_that_is_too_long_is_left_whole() -> None:
    path = "/a/path/" + "long" * 20
    assert list(wrapped(f"it is in {path} there", "", 30)) == ["it is in", path, "there"]


def test_letters_of_two_columns_are_broken_between() -> None:
    lines = list(wrapped("日本語" * 10, "> ", 24))
    assert [columns(line) for line in lines] == [24, 24, 18]
    assert "".join(line[2:] for line in lines) == "日本語" * 10


@given(st.lists(st.text("ab日 \t", max_size=30)), st.integers(20, 60))
def test_no_letter_is_lost_and_no_line_too_long(words: list[str], width: int) -> None:
    text = " ".join(words)
    lines = list(wrapped(text, "", width))
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert columns(line) <= width or " " not in line.strip()


def test_what_is_emphasised_takes_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = "one " + emphasised(Bold("two")) + " three four five"
    assert list(wrapped(text, "", 23)) == ["one \x1b[1mtwo\x1b[0m three four five"]


def test_the_widest_columns_of_a_table_give_way() -> None:
    rows = [("id", "title"), ("ops/backups", "a title of several words, long")]
    assert widths_of(rows, 80) == [11, 30]
    assert widths_of(rows, 30) == [11, 16]
    assert widths_of(rows, 22) == [11, 8]
    assert widths_of(rows, 21) == [11, 7]
    assert widths_of(rows, 20) is None


def test_a_very_long_word_may_be_broken_in_a_table() -> None:
    assert widths_of([("x" * 100, "y")], 40) == [36, 1]
    assert widths_of([("x" * 100, "y")], 20) == [16, 1]
    assert widths_of([("x" * 100, "y")], 19) is None

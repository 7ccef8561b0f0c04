"""An excerpt is a line of the text itself, with the words in it that were looked for."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from actors.lifecycle import Status
from pyrite.markdown.entry import Entry
from pyrite.search.excerpts import CHARACTERS, Excerpt, Range, cut, densest, excerpt
from pyrite.storage.records import Passage, StoredEntry

#: White space of many kinds, what is no letter, and letters beyond 16 bits.
GAPS = [
    *(" ", "  ", "\n", "\n\n\t", "\r\n", "\xa0", "\u2003", "\u2028", "\x1c", "\x85", " " * 300),
    *("\x02", "\x03", "\x02\x03 ", " \x03\x02", "\0", ", ", " — ", "🎉", " 👩‍👩‍👧 "),
]
WORDS = ["needle", "Needle", "nadel", "针", "𠀀𠀁𠀂𠀃𠀄𠀅", "a", "filler", "長" * 90, "x" * 300]
SOUGHT = frozenset(["needle", "Needle", "针", "𠀀𠀁𠀂𠀃𠀄𠀅"])
PIECES = st.lists(st.sampled_from([*WORDS, *GAPS]), max_size=60)


def stored(body: str, summary: str = "") -> StoredEntry:
    entry = Entry("id", "note", "Title", summary, (), body, {})
    return StoredEntry("kb", entry, "id.md", b"", 7, 0.0, Status.DONE)


def passage(start: int, end: int, *headings: str, ordinal: int = 0) -> Passage:
    return Passage("kb", "id", ordinal, start, end, 7, headings, 1)


def found(body: str) -> list[Range]:
    """Where the words are that are looked for."""
    words = "|".join(sorted(map(re.escape, SOUGHT), key=len, reverse=True))
    return [match.span() for match in re.finditer(words, body)]


def check(made: Excerpt, body: str) -> None:
    """What is true of every excerpt."""
    assert len(made.text) <= CHARACTERS
    assert len(made.text.splitlines()) <= 1
    assert not re.search("[\n\r\t\x02\x03\x1c\x85\u2028]", made.text)
    assert "  " not in made.text
    assert 0 <= made.start <= made.end <= len(body)
    assert list(made.highlights) == sorted(made.highlights)
    for start, end in made.highlights:
        assert made.text[start:end] in SOUGHT
    flat = " ".join(re.sub("[\x02\x03]", " ", body[made.start : made.end]).split())
    assert made.text.strip("…").strip() in flat


@given(PIECES, st.data())
@example(["filler "] * 60, None)
@example([" " * 300, "filler ", "filler "], None)
@example(["a", " ", "x" * 300, "針" * 300, "needle"], None)
def test_an_excerpt_is_a_line_of_the_text(pieces: list[str], data: st.DataObject | None) -> None:
    body = "".join(pieces)
    place = None
    if data is not None and data.draw(st.booleans()):
        # From a text that may have been longer.
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(body) + 50)] * 2)))
        place = passage(start, end)
    made = excerpt(stored(body), place, found(body))
    check(made, body)
    first, last = (0, len(body)) if place is None else (place.start, place.end)
    assert (made.start, made.end) == (min(first, len(body)), min(last, len(body)))
    within = body[made.start : made.end]
    if within.replace("\x02", " ").replace("\x03", " ").strip():
        assert made.text
    if any(first <= a and b <= last for a, b in found(body)):
        assert made.highlights


@given(PIECES)
def test_what_is_short_is_shown_whole(pieces: list[str]) -> None:
    body = "".join(pieces)
    flat = " ".join(body.replace("\x02", " ").replace("\x03", " ").split())
    made = excerpt(stored(body), None, found(body))
    if len(flat) <= CHARACTERS - 40 and "\x02" not in body and "\x03" not in body:
        assert made.text == flat
        shown = [made.text[a:b] for a, b in made.highlights]
        assert shown == [body[a:b] for a, b in found(body)]


FILLER = " ".join(f"filler{number}" for number in range(200))


def shown(body: str, place: Passage | None = None) -> str:
    made = excerpt(stored(body), place, found(body))
    check(made, body)
    return made.text


def test_white_space_becomes_single_spaces() -> None:
    assert shown("a\n\n  needle\tc\r\n\u2028d\xa0e ") == "a needle c d e"


def test_a_match_in_the_middle_is_shown_with_what_is_around_it() -> None:
    text = shown(f"{FILLER} the needle here {FILLER}")
    assert "filler199 the needle here filler0" in text
    assert text.startswith("…filler")
    assert text.endswith("…")


def test_where_nothing_is_left_out_there_is_no_ellipsis() -> None:
    text = shown(f"the needle {FILLER}")
    assert text.startswith("the needle filler0")
    assert text.endswith("…")
    text = shown(f"{FILLER} the needle")
    assert text.startswith("…")
    assert text.endswith("the needle")
    assert shown(f"  \n{'the needle ' * 15}\n\n") == ("the needle " * 15).strip()


def test_where_most_matches_are_together_is_shown() -> None:
    assert "needle nadel needle" in shown(f"needle {FILLER} needle nadel needle {FILLER} needle")


def test_without_a_match_the_beginning_is_shown() -> None:
    assert shown(FILLER).startswith("filler0 filler1 ")
    assert shown("\n" * 1000 + FILLER).startswith("filler0 filler1 ")


def test_a_text_without_spaces_is_cut_all_the_same() -> None:
    assert shown("長" * 2000) == "長" * 238 + "…"
    assert "needle" in shown("長" * 2000 + "needle" + "長" * 2000)
    # Whether the passage stands at the beginning, or a space does far before the match.
    assert "needle" in shown("x" * 50 + "長" * 2000 + "needle", passage(50, 2056))
    assert "needle" in shown("the " + "長" * 2000 + "needle")


def test_only_the_passage_is_shown() -> None:
    body = f"needle one\n\nneedle two {FILLER}\n\nneedle three"
    start = body.index("needle two")
    made = excerpt(stored(body), passage(start, start + 21, "A", "B"), found(body))
    assert made == Excerpt(("A", "B"), start, start + 21, "needle two filler0 fi", ((0, 6),))


def test_a_passage_of_a_text_that_has_become_shorter_is_shown_as_far_as_it_goes() -> None:
    assert shown("needle", passage(3, 500)) == "dle"
    made = excerpt(stored("short", "What it is"), passage(300, 500, "Old"), [])
    assert made == Excerpt(("Old",), 5, 5, "What it is", ())


def test_without_a_body_the_summary_is_shown() -> None:
    made = excerpt(stored("", "What\n it is"), None, [])
    assert made == Excerpt((), 0, 0, "What it is", ())
    assert excerpt(stored(" \n\x02", "Sum"), None, []).text == "Sum"
    assert excerpt(stored("", ""), None, []).text == ""
    long = excerpt(stored("", FILLER), None, []).text
    assert len(long) <= CHARACTERS
    assert long.endswith("…")
    assert FILLER.startswith(long[:-1])


def test_the_marks_that_are_used_inside_never_show() -> None:
    made = excerpt(stored("\x02a\x03 \x02needle\x03 b\x02"), None, [(5, 11)])
    assert (made.text, made.highlights) == ("a needle b", ((2, 8),))


def test_characters_beyond_16_bits_count_as_one() -> None:
    body = "🎉🎉 𠀀𠀁𠀂𠀃𠀄𠀅 👩‍👩‍👧"
    made = excerpt(stored(body), None, found(body))
    assert (made.text, made.highlights) == (body, ((3, 9),))


def test_a_range_that_crosses_the_end_of_the_passage_is_not_highlighted() -> None:
    made = excerpt(stored("one needle two"), passage(0, 7), [(4, 10)])
    assert (made.text, made.highlights) == ("one nee", ())


def test_the_densest_passage_has_most_highlights() -> None:
    passages = [passage(0, 10, ordinal=0), passage(10, 20, ordinal=1), passage(20, 30, ordinal=2)]
    assert densest(passages, [(1, 2), (10, 12), (19, 20), (29, 30)]) is passages[1]
    assert densest(passages, [(20, 21)]) is passages[2]
    assert densest(passages, []) is passages[0]
    assert densest([], [(1, 2)]) is None


@given(st.text(max_size=400), st.integers(1, 300))
def test_a_text_is_cut_at_a_words_end(text: str, most: int) -> None:
    made = cut(text, most)
    assert len(made) <= most
    assert made == text or text.startswith(made[:-1])
    assert (made == text) == (len(text) <= most) or made.endswith("…")

"""Excerpts: the best passage of an entry that was found, cut to a line or two."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from pyrite.storage.records import Passage, StoredEntry

#: How long an excerpt is at most.
CHARACTERS = 240

#: First and last (exclusive) character.
Range: TypeAlias = tuple[int, int]

#: Around a highlighted word, until its place in the excerpt is known. Neither survives in an
#: excerpt otherwise.
_ON, _OFF = "\x02", "\x03"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A passage of an entry's body."""

    #: The headings that it stands under, outermost first.
    headings: tuple[str, ...]
    #: Range in characters of the body.
    start: int
    end: int
    #: The part of it with the most of the query's words, on one line.
    text: str
    #: Ranges in characters of the text in which the query's words stand.
    highlights: tuple[Range, ...]


def excerpt(stored: StoredEntry, passage: Passage | None, highlights: Sequence[Range]) -> Excerpt:
    """The excerpt from a passage, or from the whole entry.

    Args:
        stored: the entry with its body.
        passage: where to take it from. Its range is of the text that was embedded, and may
            reach beyond the end of the present one.
        highlights: ranges of the body in which the query's words stand, in order.
    """
    body = clean(stored.entry.body)
    start, end = (0, len(body)) if passage is None else (passage.start, passage.end)
    start, end = min(start, len(body)), min(end, len(body))
    within = [(a, b) for a, b in highlights if start <= a and b <= end]
    first, last = window(body, start, end, within)
    shown = [(a, b) for a, b in within if first <= a and b <= last]
    text, places = on_one_line(body, first, last, shown)
    if not text:
        text = cut(" ".join(stored.entry.summary.split()), CHARACTERS)
    else:
        before = "…" if body[start:first].strip() else ""
        after = "…" if body[last:end].strip() else ""
        text = before + text + after
        places = [(a + len(before), b + len(before)) for a, b in places]
    headings = () if passage is None else passage.headings
    return Excerpt(headings, start, end, text, tuple(places))


def densest(passages: Sequence[Passage], highlights: Sequence[Range]) -> Passage | None:
    """The passage in which the most highlighted words stand; the first of equals."""
    starts = [start for start, _ in highlights]

    def count(passage: Passage) -> int:
        return bisect_left(starts, passage.end) - bisect_left(starts, passage.start)

    return max(passages, key=count, default=None)


def window(body: str, start: int, end: int, highlights: Sequence[Range]) -> Range:
    """The part of a range, short enough to be shown, with the most highlighted words in it."""
    room = CHARACTERS - 2  # for an ellipsis at each end
    part = body[start:end]
    start += len(part) - len(part.lstrip())
    if len(" ".join(part.split())) <= room:
        return start, end
    places = [begin for begin, _ in highlights]
    best = max(
        highlights,
        key=lambda h: bisect_left(places, h[0] + room) - bisect_left(places, h[0]),
        default=(start, start),
    )
    first = start
    if best[0] - start >= room // 3:
        # Begin at a word a little before the first match.
        gap = _last_space(body, best[0] - room // 3, best[0] - room // 8)
        first = best[0] if gap < 0 else gap + 1
    last = min(end, first + room)
    if last < end:
        gap = _last_space(body, best[1], last)
        last = last if gap < 0 else gap
    return first, last


def _last_space(body: str, start: int, end: int) -> int:
    """Where the last space or line break of a part is; -1 if it has none."""
    return max(body.rfind(white, start, end) for white in (" ", "\n"))


def on_one_line(
    body: str, first: int, last: int, highlights: Sequence[Range]
) -> tuple[str, list[Range]]:
    """A part of a clean body without line breaks, and where its highlighted ranges then are."""
    edges = [first, *(edge for range_ in highlights for edge in range_), last]
    parts = [
        (_ON if number % 2 else "") + body[a:b] + (_OFF if number % 2 else "")
        for number, (a, b) in enumerate(pairwise(edges))
    ]
    marked = " ".join("".join(parts).split())
    text, ends = "", []
    for piece in marked.replace(_OFF, _ON).split(_ON):
        text += piece
        ends.append(len(text))
    return text, [(ends[i], ends[i + 1]) for i in range(0, len(ends) - 1, 2)]


def clean(text: str) -> str:
    """The text without the control characters that mark highlights here."""
    return text.replace(_ON, " ").replace(_OFF, " ")


def cut(text: str, most: int) -> str:
    """The text, shortened at a word's end if it is longer."""
    if len(text) <= most:
        return text
    return (text[: most - 1].rpartition(" ")[0] or text[: most - 1]) + "…"

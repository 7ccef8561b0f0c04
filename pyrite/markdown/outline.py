"""The outline of a Markdown text: its blocks, the headings over them, where each may be cut.

The text is taken to be a sequence of leaves (a heading, a paragraph, a code fence, the beginning
of a list's item, ...) that follow one another without a gap. Every leaf but the first has a
boundary before it, and every boundary has a rank: the more of the text's structure ends there, the
higher. A leaf too large for its reader is cut on, into `finer` ones, along a ladder of patterns.

The blocks are CommonMark's, read by markdown-it with everything inside a block left unread.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise, zip_longest
from typing import TYPE_CHECKING

from pyrite.markdown.blocks import LINE_END, line_starts, tokens_of

if TYPE_CHECKING:
    from markdown_it.token import Token

#: Rank of the boundary between a heading and what it is the heading of: the last to be cut.
GLUE = -100_000

#: A boundary one level further in ranks this much lower, and a heading one level up this much
#: higher. After "such as:" the boundary ranks between its own level and the next one in.
_LEVEL = 10
_LED_IN = 5
_DEEPEST_HEADING = 7
#: Ranks of the boundaries inside a leaf: below all others, each step of the ladder below the last.
_INSIDE = -10_000
_STEP = 1_000

#: What is inside them is no leaf: a table is cut at its lines.
_NO_LEAF = frozenset({"inline", "thead_open", "tbody_open", "tr_open", "th_open", "td_open"})
#: Their lines are the author's, and hold more of the structure than their sentences.
_OF_LINES = frozenset({"fence", "code_block", "html_block", "table_open"})

#: Without any of these, a text has no heading.
_OF_HEADINGS = re.compile(r"#|[\r\n][ \t]*[=-]")
_BLANK_LINE = re.compile(r"(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)")
_WORD_END = re.compile(r"[ \t\r\n]+")
_SENTENCE_END = re.compile(
    r"[.!?\u2026][\"')\]*_`\u2019\u201d]*[ \t\r\n]+(?=[^a-z\s])"
    r"|[\u3002\uff01\uff1f][\u2019\u201d\u300d\u300f\uff09]*"
)

#: Cuts a text at no less than its words' insides; returns where its pieces begin.
Breaker = Callable[[str], Iterable[int]]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A stretch of the text that is not cut as long as there is room for it."""

    #: Range in characters of the text.
    start: int
    end: int
    #: Rank of the boundary before it.
    rank: int = 0
    #: Titles of the headings that it stands under, outermost first; a heading's own is the last.
    headings: tuple[str, ...] = ()
    #: 1 to 6 for a heading of that level, 0 for anything else.
    heading: int = 0
    #: Whether it is cut at lines rather than at sentences.
    of_lines: bool = False

    @property
    def above(self) -> tuple[str, ...]:
        """Titles of the headings that stand before it and over it."""
        return self.headings[:-1] if self.heading else self.headings


#: Neighbouring leaves, such as make up a chunk.
Run = Sequence[Leaf]


@dataclass(slots=True)
class _Opening:
    """What begins at a line."""

    level: int
    of_lines: bool
    heading: int = 0
    title: str = ""


def outline(text: str) -> list[Leaf]:
    """The leaves of a Markdown text, in order; all but white space is in one of them."""
    lines = line_starts(text)
    openings = _openings(tokens_of(text), len(lines) - 1)
    begins = sorted(line for line in openings if line < len(lines))
    leaves: list[Leaf] = []
    path: list[tuple[int, str]] = []
    titles: tuple[str, ...] = ()
    for line, following in zip(begins, [*begins[1:], len(lines) - 1], strict=True):
        opening, start, end = openings[line], lines[line], lines[following]
        if opening.heading:
            while path and path[-1][0] >= opening.heading:
                path.pop()
            path.append((opening.heading, opening.title))
            titles = tuple(title for _, title in path)
        if not text[start:end].isspace() and start < end:
            rank = _rank(opening, leaves[-1] if leaves else None, text)
            leaves.append(Leaf(start, end, rank, titles, opening.heading, opening.of_lines))
    return leaves


def _openings(tokens: Sequence[Token], lines: int) -> dict[int, _Opening]:
    """What begins at which line; what no token tells of is a block of its own."""
    openings: dict[int, _Opening] = {}
    covered = 0
    for place, token in enumerate(tokens):
        if token.map is None or token.type in _NO_LEAF:
            continue
        begin, end = token.map
        if token.level == 0:
            if begin > covered:
                openings.setdefault(covered, _Opening(0, of_lines=True))
            covered = max(covered, end)
        opening = openings.setdefault(begin, _Opening(token.level, of_lines=False))
        opening.of_lines = token.type in _OF_LINES
        if token.type == "heading_open" and token.level == 0:
            opening.heading = int(token.tag[1:])
            opening.title = " ".join(tokens[place + 1].content.split())
    if covered < lines:
        openings.setdefault(covered, _Opening(0, of_lines=True))
    return openings


def _rank(opening: _Opening, before: Leaf | None, text: str) -> int:
    """The rank of the boundary between two leaves."""
    # Only a deeper heading goes on with the section that the heading before it began.
    if before and before.heading and not 0 < opening.heading <= before.heading:
        return GLUE
    if opening.heading:
        return _LEVEL * (_DEEPEST_HEADING - opening.heading)
    led_in = before and text[before.start : before.end].rstrip().endswith((":", "\uff1a"))
    return -_LEVEL * opening.level - (_LED_IN if led_in else 0)


def finer(text: str, leaf: Leaf, fits: Callable[[int, int], bool], breaker: Breaker) -> list[Leaf]:
    """A leaf's pieces, each no larger than it must be for all of them to fit.

    Args:
        text: the text that the leaf is of.
        leaf: what is to be cut, if it does not fit.
        fits: whether there is room for a range of the text.
        breaker: cuts what has neither lines, sentences nor words.
    """
    pieces = [leaf]
    for step, breaker_of_step in enumerate(_ladder(leaf, breaker)):
        whole = [fits(piece.start, piece.end) for piece in pieces]
        if all(whole):
            break
        rank = _INSIDE - step * _STEP
        cut = (
            [piece] if is_whole else _cut(text, piece, breaker_of_step, rank)
            for piece, is_whole in zip(pieces, whole, strict=True)
        )
        pieces = list(chain.from_iterable(cut))
    return pieces


def _ladder(leaf: Leaf, breaker: Breaker) -> list[Breaker]:
    patterns = [LINE_END, _SENTENCE_END] if leaf.of_lines else [_SENTENCE_END, LINE_END]
    if leaf.of_lines:
        patterns.insert(0, _BLANK_LINE)
    return [*(_ends_of(pattern) for pattern in (*patterns, _WORD_END)), breaker]


def _ends_of(pattern: re.Pattern[str]) -> Breaker:
    return lambda text: (match.end() for match in pattern.finditer(text))


def _cut(text: str, leaf: Leaf, breaker: Breaker, rank: int) -> Iterator[Leaf]:
    content = text[leaf.start : leaf.end]
    places = [leaf.start + place for place in breaker(content) if 0 < place < len(content)]
    following = leaf.rank
    for begin, end in pairwise([leaf.start, *places, leaf.end]):
        if not text[begin:end].isspace():
            yield replace(leaf, start=begin, end=end, rank=following)
            following = rank


def merge(text: str, leaves: Run, sizes: Sequence[int], rooms: Sequence[int]) -> list[Run]:
    """Dissolve boundaries from the lowest priority on, where what they part fits together.

    Across a heading only whole sections come together: never one with the rest of another.

    Args:
        text: the text that the leaves are of.
        leaves: what stands between the boundaries.
        sizes: the leaves' tokens.
        rooms: how many tokens fit into a chunk that begins with the leaf.
    """
    count = len(leaves)
    totals = [0, *accumulate(sizes)]
    # A chunk's other end; right at its first and last leaf, which is where it is looked up.
    first, last = list(range(count)), list(range(count))
    for _, _, place in sorted(_priorities(text, leaves)[1:]):
        begin, end = first[place - 1], last[place] + 1
        rank = leaves[place].rank
        if rank > 0 and (
            (begin > 0 and leaves[begin].rank < rank) or (end < count and leaves[end].rank < rank)
        ):
            continue
        if totals[end] - totals[begin] <= rooms[begin]:
            first[end - 1], last[begin] = begin, end - 1
    runs: list[Run] = []
    place = 0
    while place < count:
        runs.append(leaves[place : last[place] + 1])
        place = last[place] + 1
    return runs


def _priorities(text: str, leaves: Run) -> list[tuple[int, int, int]]:
    """The priority of the boundary before each leaf.

    Where texts repeat themselves, no choice by their content is possible; the place decides.
    """
    return [
        (leaf.rank, zlib.crc32(text[leaf.start : leaf.end].strip().encode()), place)
        for place, leaf in enumerate(leaves)
    ]


def halves(text: str, run: Run) -> list[Run]:
    """The content of some leaves in two, wherever that is."""
    start, end = trim(text, run[0].start, run[-1].end)
    middle = (start + end) // 2
    halves = (replace(run[0], end=middle), replace(run[0], start=middle, end=end))
    return [[half] for half in halves if text[half.start : half.end].strip()]


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without the white space at its ends; (0, 0) if there is nothing else."""
    content = text[start:end]
    left = len(content) - len(content.lstrip())
    stripped = len(content.strip())
    return (start + left, start + left + stripped) if stripped else (0, 0)


def headings_over(text: str) -> tuple[str, ...]:
    """The headings that all of a Markdown text stands under."""
    # Most short notes have none, and to parse them costs as much as to count their tokens.
    return common(outline(text)) if _OF_HEADINGS.search(text) else ()


def common(run: Run) -> tuple[str, ...]:
    """The headings that all of it stands under; a heading is part of its section."""
    # What follows a heading directly speaks for it.
    speaking = [
        leaf for leaf, next_ in zip_longest(run, run[1:]) if not next_ or next_.rank != GLUE
    ]
    headings = speaking[0].headings if speaking else ()
    for leaf in speaking:
        while leaf.headings[: len(headings)] != headings:
            headings = headings[:-1]
    return tuple(heading for heading in headings if heading)

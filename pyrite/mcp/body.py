"""Parts of a body: its headings, the section under one, and where to cut what is too long. Pure."""

from __future__ import annotations

from pyrite.api.entries import Heading
from pyrite.markdown.outline import Leaf, outline

#: Headings of a long body that are told.
_HEADINGS = 200


def cut(body: str, start: int, end: int, most: int) -> tuple[int, int]:
    """A part of a body that is no longer than so: it ends at the end of a line if it can."""
    start, end = min(start, len(body)), min(end, len(body))
    if end - start <= most:
        return start, end
    line_end = body.rfind("\n", start, start + most)
    return start, start + most if line_end <= start else line_end + 1


def headings(body: str) -> list[Heading]:
    """The headings of a body, in order; of very many, the first."""
    return [
        Heading(title=leaf.headings[-1], level=leaf.heading, start=leaf.start)
        for leaf in _headings(body)[:_HEADINGS]
    ]


def section(body: str, title: str) -> tuple[int, int] | None:
    """The range of the first section under a heading of that title, its own sections included."""
    found = _headings(body)
    wanted = title.strip().lstrip("#").strip().lower()
    for place, leaf in enumerate(found):
        if leaf.headings[-1].lower() == wanted:
            after = (each.start for each in found[place + 1 :] if each.heading <= leaf.heading)
            return leaf.start, next(after, len(body))
    return None


def _headings(body: str) -> list[Leaf]:
    return [leaf for leaf in outline(body) if leaf.heading]

"""The blocks of a Markdown text, as CommonMark has them, with what is inside them left unread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LINE_END = re.compile(r"\r\n?|\n")


@cache
def _parser() -> MarkdownIt:
    # Imported only here: most commands meet no Markdown.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    parser = MarkdownIt("commonmark").enable("table")
    # A list of n link definitions would be read n times over. Unread, it is a paragraph.
    return parser.disable(["inline", "reference"])


def tokens_of(text: str) -> list[Token]:
    """Parse a text into markdown-it's tokens."""
    return _parser().parse(text)


def line_starts(text: str) -> list[int]:
    """Return where each line begins, and at last where the text ends."""
    return [0, *(end.end() for end in LINE_END.finditer(text)), len(text)]


def running_text(body: str) -> Iterator[tuple[int, str]]:
    """Yield what is running text rather than code or HTML, with its line, counted from 0.

    A code span does not reach from one piece into another. A table's lines are each their own.
    """
    starts = line_starts(body)
    in_row = False
    for token in tokens_of(body):
        if token.type == "tr_close":
            in_row = False
        elif token.map and (token.type == "tr_open" or (token.type == "inline" and not in_row)):
            in_row = token.type == "tr_open"
            first, last = token.map
            yield first, body[starts[first] : starts[min(last, len(starts) - 1)]]

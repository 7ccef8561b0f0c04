"""The blocks of a Markdown text, as CommonMark has them, with what is inside them left unread."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

LINE_END = re.compile(r"\r\n?|\n")

#: How many lines a block quotation is shown at first, and how many times as many when it goes on.
_SHOWN = 4
_MORE = 4


@cache
def _parser() -> MarkdownIt:
    # Imported only here: most commands meet no Markdown.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    parser = MarkdownIt("commonmark").enable("table")
    rules = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.at("blockquote", _quotation, {"alt": rules})
    # A list of n link definitions would be read n times over. Unread, it is a paragraph.
    return parser.disable(["inline", "reference"])


def _quotation(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Read a block quotation, looking no further ahead than a few times its length.

    markdown-it looks for the last line that could belong to it before it reads what is in it,
    which may end long before; of n quotations, each would look through all lines that follow.
    So it is shown a part of them. What ends before that part does is not changed by what
    comes after; of anything else, more is shown. How much, is kept for when a quotation around
    it is shown more and has it read again.
    """
    from markdown_it.rules_block.blockquote import blockquote  # noqa: PLC0415

    shown = state.env.setdefault("lines shown of quotations", {})
    here, tokens = (first, state.level), len(state.tokens)
    while True:
        until = min(first + shown.get(here, _SHOWN), end)
        found = blockquote(state, first, until, silent)
        if silent or not found or state.line < until:
            return found
        shown[here] = shown.get(here, _SHOWN) * _MORE
        if until == end:
            return found
        del state.tokens[tokens:]
        state.line = first


def tokens_of(text: str) -> list[Token]:
    """Parse a text into markdown-it's tokens."""
    # Of a last line that ends with the text, markdown-it may want the character after it: what
    # begins as HTML in a list in a quotation would be an IndexError.
    return _parser().parse(text if text.endswith("\n") else f"{text}\n")


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

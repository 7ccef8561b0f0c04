"""Blocks are those of the parser in use, however little of a quotation it is shown at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pyrite.markdown import blocks
from pyrite.markdown.blocks import tokens_of

PIECES = (
    *(">", "> ", ">>", ">\t", "- ", "-", "1. ", "* ", "+++", "a", "b\\", "    ", "  ", "\t", "# h"),
    *("```", "~~~", "===", "---", "| a | b |", "|---|---|", "<div>", "<!--", "-->", "[a]: b", ""),
)
LINES = st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=24)


def plain(text: str) -> list[Token]:
    """The tokens of the parser's own rules, reading quotations whole."""
    parser = MarkdownIt("commonmark").enable("table").disable(["inline", "reference"])
    return parser.parse(text if text.endswith("\n") else f"{text}\n")


@pytest.mark.parametrize("shown", [1, 2, 4])
@given(lines=LINES)
def test_quotations_are_read_as_if_all_of_them_were_shown(shown: int, lines: list[str]) -> None:
    text = "\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_SHOWN", shown)
        assert tokens_of(text) == plain(text)


@pytest.mark.parametrize("text", [">>* <!--\n>>", ">1. <div>\n>", ">- <!--\n>\n>", ">* ```\n>"])
def test_a_text_may_end_in_a_quotation_without_a_line_end(text: str) -> None:
    assert tokens_of(text) == tokens_of(f"{text}\n")

"""Links as they are written: which count, where they are, and how long it takes to find them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.markdown import blocks, links
from pyrite.markdown.links import Kind, Link, links_of

PIECES = [
    "[[a]]",
    "[x](a.md)",
    "[[",
    "]]",
    "](",
    ".md",
    "```",
    "<!--",
    *"[]()|#!`\\<>-~ \n\r\tab./:^%é\0",
]
MARKS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
NAMES = st.text(st.sampled_from("abc é-_.,'&+=$%/()"), min_size=1, max_size=12).filter(str.strip)


def targets(text: str) -> list[str]:
    return [link.target for link in links_of(text)]


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("[[Target]]", Link(Kind.WIKI, "Target", "", "", 1)),
        ("[[ Target | shown text ]]", Link(Kind.WIKI, "Target", "", "shown text", 1)),
        ("[[Target#A heading|shown]]", Link(Kind.WIKI, "Target", "A heading", "shown", 1)),
        ("[[Target#^block-1]]", Link(Kind.WIKI, "Target", "^block-1", "", 1)),
        ("a\n\n- [[folder/Target]]", Link(Kind.WIKI, "folder/Target", "", "", 3)),
        ("\r\n\r\n![[Target#part]]", Link(Kind.EMBED, "Target", "part", "", 3)),
        ("[[Node.js]]", Link(Kind.WIKI, "Node.js", "", "", 1)),
        ("[[../up]]", Link(Kind.WIKI, "../up", "", "", 1)),
        ("[x](../other.md)", Link(Kind.MARKDOWN, "../other.md", "", "", 1)),
        ("[x](other.MD 'title')", Link(Kind.MARKDOWN, "other.MD", "", "", 1)),
        ("[x](<a b.markdown>)", Link(Kind.MARKDOWN, "a b.markdown", "", "", 1)),
        ("[x](a%20b.md#Part%201)", Link(Kind.MARKDOWN, "a b.md", "Part 1", "", 1)),
        ("[x](a_(b).md?plain=1)", Link(Kind.MARKDOWN, "a_(b).md", "", "", 1)),
        ("[a [nested] text](/x.md)", Link(Kind.MARKDOWN, "/x.md", "", "", 1)),
        ("[over\ntwo lines](x.md)", Link(Kind.MARKDOWN, "x.md", "", "", 2)),
        ("[![picture](p.png)](x.md)", Link(Kind.MARKDOWN, "x.md", "", "", 1)),
        ("a\n\n[name]: ../d.md 'title'", Link(Kind.MARKDOWN, "../d.md", "", "", 3)),
    ],
)
def test_a_link_is_read(text: str, link: Link) -> None:
    assert links_of(text) == (link,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[ [a]] [[a] ] [[]] [[ ]] [[|x]] [[#heading]] [[a\nb]]",
        "`[[a]]` and ``[[a]] ` [x](a.md)``",
        "`two\nlines [[a]]`",
        "```\n[[a]]\n```",
        "~~~\n[x](a.md)\n~~~",
        "- item\n\n  ```\n  [[a]]\n  ```",
        "    [[a]]",
        "> \t [[a]]\n>\n>     [[a]]"[9:],
        r"\[[a]] [\[a]] \[x](a.md) [x\](a.md)",
        "<div>\n[[a]]\n</div>",
        "x <!-- [[a]]\n[x](a.md) --> y",
        "![[picture.png]] [[sound.MP3|x]] ![[paper.pdf#page=2]]",
        "[[https://example.org/a]]",
        "[x](https://example.org/a.md) [x](//example.org/a.md) [x](mailto:a.md)",
        "[x](a.txt) [x](#heading) [x]() [x](.md) [x](folder/) ![x](a.md)",
        "](a.md)",
        "[x](a.md",
        "[x](a b.md)",
        "[x]: https://example.org/a.md",
    ],
)
def test_this_is_no_link(text: str) -> None:
    assert links_of(text) == ()


def test_links_among_code_are_found_with_their_lines() -> None:
    text = (
        "# [[one]]\n\nsee `code` [[two]], `[[no]]`\n\n```sh\n[[ -f x ]]\n```\n\n"
        "- [[three]]\n    - [[four]]\n\n> [[five]] `\n\n| a | b |\n|---|---|\n"
        "| [[six\\|shown]] | ` |\n| [[seven]] ` | [x](eight.md) |\n"
    )
    assert [(link.target, link.line) for link in links_of(text)] == [
        *(("one", 1), ("two", 3), ("three", 9), ("four", 10), ("five", 12)),
        *(("six", 16), ("seven", 17), ("eight.md", 17)),
    ]
    assert links_of(text)[5].shown == "shown"


def test_a_run_of_backticks_ends_a_span_only_if_it_is_as_long() -> None:
    assert targets("`` ` [[no]] ``` [[no]] `` [[yes]] ```` [[too]]") == ["yes", "too"]
    assert targets(r"\`[[yes]] `[[no]]\` [[too]]") == ["yes", "too"]


@given(MARKS)
def test_any_text_has_links_in_order_and_within_it(text: str) -> None:
    found = links_of(text)
    lines = [link.line for link in found]
    assert lines == sorted(lines)
    count = len(blocks.LINE_END.findall(text)) + 1
    assert all(link.target.strip() and 1 <= link.line <= count for link in found)


@given(MARKS)
def test_what_need_not_be_parsed_has_the_same_links_if_it_is(text: str) -> None:
    plain = text.replace("\n", " ").replace("\r", " ")
    if links._BLOCKS_MATTER.search(plain) or not plain.strip():
        return
    # Within one paragraph there is no difference that a block could make.
    paragraph = "a " + plain.strip()
    parsed = [
        link
        for line, text in blocks.running_text(paragraph)
        for link in links._scan(text, line + 1)
    ]
    assert list(links_of(paragraph)) == (parsed if links._may_link(paragraph) else [])


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=8))
def test_what_is_written_is_found_again(given_names: list[tuple[str, bool]]) -> None:
    text = "".join(f"See ![[{n}|x]].\n\n" if e else f"See [[{n}]].\n\n" for n, e in given_names)
    found = links_of(text)
    wanted = [
        (Kind.EMBED if e else Kind.WIKI, n.strip(), 2 * i + 1)
        for i, (n, e) in enumerate(given_names)
    ]
    assert [(link.kind, link.target, link.line) for link in found] == wanted


@given(MARKS)
def test_code_hides_links(inside: str) -> None:
    inside = inside.replace("~", "")
    assert targets(f"[[before]]\n\n~~~~\n{inside}\n~~~~\n\n[[after]]") == ["before", "after"]


HOSTILE = (
    "[",
    "[[",
    "[[a",
    "](",
    "](a(",
    "](](x)",
    "`",
    "``a`",
    "<!--",
    "\\",
    "[x](",
    "](a.md ",
    "![",
    "[[a|",
    "](<",
    "](a.md (a)(b)",
    "> ",
    "[a]: b.md\n",
    "#[[",
    "](a.md\n",
)


@pytest.mark.repeats
@pytest.mark.parametrize("piece", HOSTILE)
def test_what_is_hostile_is_read_to_its_end(piece: str) -> None:
    """In a tenth of a second or so; a time that grew with the square would never be over."""
    links_of("[[x]] .md ](\n\n<a `\n\n" + piece * (100_000 // len(piece)))

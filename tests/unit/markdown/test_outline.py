"""A Markdown text's leaves, their headings, and the ranks of the boundaries between them."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.markdown.outline import (
    GLUE,
    Leaf,
    common,
    finer,
    halves,
    headings_over,
    merge,
    outline,
    trim,
)

MARKS = st.text(st.sampled_from("#>-*1.|`~=:ab \t\n\r\0\x0b\x0c\x85\u2028é字<![]()"), max_size=80)


def contents(text):
    return [text[leaf.start : leaf.end].strip() for leaf in outline(text)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n\t\r\n\x0c\n", []),
        ("one\ntwo\n\nthree", ["one\ntwo", "three"]),
        ("# A #\ntext\nB\n---\n* * *\n", ["# A #", "text\nB\n---", "* * *"]),
        ("```\n# no\n\n- no\n```\n    # no\n", ["```\n# no\n\n- no\n```", "# no"]),
        ("- a\n- b\n  - c\n\n    d\n- e", ["- a", "- b", "- c", "d", "- e"]),
        ("> a\n>\n> b\n", ["> a\n>", "> b"]),
        ("|a|b|\n|-|-|\n|c|d|\n\nx", ["|a|b|\n|-|-|\n|c|d|", "x"]),
        ("<!-- a -->\n[b]: /c\n\n[d]: /e\n", ["<!-- a -->", "[b]: /c", "[d]: /e"]),
        ("a\x0b# b\u2028# c\x0c# d\x85# e", ["a\x0b# b\u2028# c\x0c# d\x85# e"]),
        ("\0a\r\n\r\nb\r\rc\n\rd", ["\0a", "b", "c", "d"]),
    ],
)
def test_a_text_is_taken_apart(text, pieces):
    assert contents(text) == pieces


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_headings_stand_over_what_follows_them(line_end):
    text = "intro\n# A `x`\n\nB\nb\n---\n### C ###\nc\n## D\n```\n# no\n```\n> # no\n\n#\ne\n"
    leaves = outline(text.replace("\n", line_end))
    assert [leaf.headings for leaf in leaves] == [
        (), ("A `x`",), ("A `x`", "B b"), ("A `x`", "B b", "C"), ("A `x`", "B b", "C"),
        ("A `x`", "D"), ("A `x`", "D"), ("A `x`", "D"), ("",), ("",),
    ]  # fmt: skip
    assert leaves[1].above == ()
    assert leaves[3].above == ("A `x`", "B b")
    assert leaves[4].above == ("A `x`", "B b", "C")
    assert common(leaves[1:8]) == ("A `x`",)
    assert common(leaves[1:3]) == ("A `x`", "B b")
    assert common(leaves[2:5]) == ("A `x`", "B b", "C")
    assert common(leaves) == common(leaves[8:]) == common([]) == ()


def test_what_ends_more_of_the_structure_ranks_higher():
    text = "a\n# A\n## B\n## C\nx\n\ny:\n- l\n- m\n  - n\n\no\n"
    leaves = outline(text)
    ranks = {text[leaf.start : leaf.end].rsplit(maxsplit=1)[-1]: leaf.rank for leaf in leaves}
    assert ranks["B"] == ranks["x"] == GLUE
    higher = ["A", "C", "y:", "l", "m", "n"]
    assert all(ranks[one] > ranks[two] for one, two in pairwise(higher))
    assert ranks["o"] == ranks["y:"]


@given(MARKS)
def test_leaves_follow_one_another_and_leave_nothing_out(text):
    leaves = outline(text)
    end = 0
    for leaf in leaves:
        assert not text[end : leaf.start].strip()
        assert text[leaf.start : leaf.end].strip()
        end = leaf.end
    assert not text[end:].strip()
    starts = {0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))}
    assert {leaf.start for leaf in leaves} <= starts


@pytest.mark.parametrize(
    ("of_lines", "room", "pieces"),
    [
        (False, 99, ["Ab c. De f!\nGh"]),
        (False, 6, ["Ab c. ", "De f!\n", "Gh"]),
        (False, 5, ["Ab ", "c. ", "De ", "f!\n", "Gh"]),
        (False, 2, ["A", "b", "c", ".", "D", "e", "f", "!", "Gh"]),
        (True, 12, ["Ab c. De f!\n", "Gh"]),
        (True, 6, ["Ab c. ", "De f!\n", "Gh"]),
    ],
)
def test_a_leaf_is_cut_no_finer_than_it_must_be(of_lines, room, pieces):
    text = "Ab c. De f!\nGh"
    leaf = Leaf(0, len(text), 5, of_lines=of_lines)
    found = finer(text, leaf, lambda start, end: end - start <= room, lambda part: range(len(part)))
    assert [text[leaf.start : leaf.end] for leaf in found] == pieces
    assert found[0].rank == 5
    assert all(leaf.rank < -1000 for leaf in found[1:])


def test_sections_come_together_only_whole():
    text = "# A\na\n## B\n\nb\n\nc\n\nd\n## C\ne\n"
    leaves = outline(text)
    sizes = [1] * len(leaves)

    def runs(room):
        merged = merge(text, leaves, sizes, [room] * len(leaves))
        return [text[run[0].start : run[-1].end].split() for run in merged]

    assert runs(8) == [text.split()]
    assert runs(6) == [["#", "A", "a", "##", "B", "b", "c", "d"], ["##", "C", "e"]]
    # One rest of B and all of C would fit into 5, and still stay apart.
    assert runs(5)[-1] == ["##", "C", "e"]


def test_the_last_resort_is_to_cut_anywhere():
    text = "  abcd  "
    ranges = [(half[0].start, half[0].end) for half in halves(text, [Leaf(0, 8)])]
    assert ranges == [(0, 4), (4, 6)]
    assert trim(text, 0, 8) == (2, 6)
    assert trim(text, 0, 2) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        ">" * 10_000 + " x",
        "".join("  " * level + "- a\n" for level in range(300)),
        "- " * 10_000 + "x",
        "[a]: /b\n" * 5_000,
        "[" * 10_000,
        "```\n" * 2_001,
        "#" * 10_000,
        "|a" * 5_000 + "\n" + "|-" * 5_000,
    ],
)
def test_what_is_meant_to_be_hard_is_read_all_the_same(text):
    leaves = outline(text)
    assert leaves[0].start == 0
    assert leaves[-1].end == len(text)


@given(MARKS)
def test_a_text_is_known_to_have_no_heading_without_being_parsed(text):
    assert headings_over(text) == common(outline(text))

"""An edit changes what it is told to, and no other byte."""

import re
from dataclasses import dataclass
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyrite.errors import InvalidEntryError
from pyrite.markdown import frontmatter
from pyrite.markdown.editing import edit, same
from pyrite.markdown.frontmatter import FrontMatterError, parse, split
from pyrite.markdown.yaml_text import block, flow

PAGE = """\
---
# about this page
title:   "Old"  # shown on top
plain: one two   # inline
tags:     # what it is about
  - a   # first

  - b  # second
# after the tags
folded: >
  some
  text

# before the doubled key
dup: 1
dup: {x: 1, y: [2]} # flow
empty:   # nothing yet
date: 2024-01-01
nest:
  k: v
  z:
# at the end
---

Body
"""


def changed_lines(changes, removals=(), page=PAGE):
    """Return the lines an edit took away and those it brought."""
    old, new = page.splitlines(), edit(page, changes, removals).splitlines()
    start = next((i for i, pair in enumerate(zip(old, new, strict=False)) if len({*pair}) > 1), 0)
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[start : len(old) - end], new[start : len(new) - end]


@pytest.mark.parametrize(
    ("changes", "gone", "come"),
    [
        ({"title": "New"}, ['title:   "Old"  # shown on top'], ['title:   "New"  # shown on top']),
        ({"title": 5}, ['title:   "Old"  # shown on top'], ['title:   "5"  # shown on top']),
        ({"plain": "yes"}, ["plain: one two   # inline"], ["plain: 'yes'   # inline"]),
        ({"plain": "it's: a"}, ["plain: one two   # inline"], ['plain: "it\'s: a"   # inline']),
        ({"plain": ["x", 1]}, ["plain: one two   # inline"], ["plain: [x, 1]   # inline"]),
        ({"plain": "a\nb"}, ["plain: one two   # inline"], ['plain: "a\\nb"   # inline']),
        ({"tags": ["a", "b", "c"]}, [], ["  - c"]),
        ({"tags": ["a"]}, ["", "  - b  # second"], []),
        ({"tags": ["a", "x y"]}, ["", "  - b  # second"], ["  - x y"]),
        ({"tags": ["z"]}, ["  - a   # first", "", "  - b  # second"], ["  - z"]),
        ({"tags": []},
         ["tags:     # what it is about", "  - a   # first", "", "  - b  # second"],
         ["tags: []     # what it is about"]),
        ({"folded": "short"}, ["folded: >", "  some", "  text"], ["folded: short"]),
        ({"folded": "l 1\nl 2\n"}, ["folded: >", "  some", "  text"],
         ["folded: |", "  l 1", "  l 2"]),
        ({"dup": 3}, ["dup: {x: 1, y: [2]} # flow"], ["dup: 3 # flow"]),
        ({"empty": "x"}, ["empty:   # nothing yet"], ["empty: x   # nothing yet"]),
        ({"date": "2024-02-02"}, ["date: 2024-01-01"], ["date: 2024-02-02"]),
        ({"date": "today"}, ["date: 2024-01-01"], ["date: today"]),
        ({"nest": {"k": "v", "q": [1, {"r": 2}]}}, ["  z:"],
         ["  q:", "    - 1", "    - r: 2"]),
        ({"nest": None}, ["nest:", "  k: v", "  z:"], ["nest: null"]),
        ({"new": ["a", "b"]}, [], ["new:", "  - a", "  - b"]),
        ({"title": "Old", "tags": ["a", "b"], "date": "2024-01-01", "empty": None}, [], []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_change_keeps_the_style_and_everything_else(changes, gone, come, newline, bom):
    assert changed_lines(changes) == (gone, come)
    dressed = bom + edit(PAGE, changes).replace("\n", newline)
    assert edit(bom + PAGE.replace("\n", newline), changes) == dressed


@pytest.mark.parametrize(
    ("removals", "gone"),
    [
        (["plain"], ["plain: one two   # inline"]),
        (["tags"], ["tags:     # what it is about", "  - a   # first", "", "  - b  # second"]),
        (["folded"], ["folded: >", "  some", "  text"]),
        (["dup"], ["dup: 1", "dup: {x: 1, y: [2]} # flow"]),
        (["nest", "unknown"], ["nest:", "  k: v", "  z:"]),
        (["unknown"], []),
    ],
)
def test_a_removal_takes_the_lines_of_the_key(removals, gone):
    assert changed_lines({}, removals) == (gone, [])


@pytest.mark.parametrize(
    ("text", "changes", "removals", "expected"),
    [
        ("", {"a": 1}, [], "---\na: 1\n---\n"),
        ("Hi", {}, ["a"], "Hi"),
        ("Hi\n", {"a": 1}, [], "---\na: 1\n---\n\nHi\n"),
        ("\ufeffHi\r\n", {"a": 1}, [], "\ufeff---\r\na: 1\r\n---\r\n\r\nHi\r\n"),
        ("---\n---", {"a": 1}, [], "---\na: 1\n---"),
        ("---\n# c\n---\n", {"a": 1}, [], "---\n# c\na: 1\n---\n"),
        ("---\n{a: 1, b: [x]} # c\n---\n", {"a": "p,q"}, [], "---\n{a: 'p,q', b: [x]} # c\n---\n"),
        ("---\n{a: 1}\n---\n", {"b": 2}, [], "---\na: 1\nb: 2\n---\n"),
        ("---\n{a: 1, b: 2}\n---\n", {}, ["a"], "---\nb: 2\n---\n"),
        ("---\n  a: 1\n  b: 2\n---\n", {"c": ["x"]}, ["a"], "---\n  b: 2\n  c:\n    - x\n---\n"),
        ("---\n? a\n: 1\nb: 2\n---\n", {"a": 3}, [], "---\n? a\n: 3\nb: 2\n---\n"),
        ("---\n? a\nb: 2\n---\n", {"a": 3}, [], "---\na: 3\nb: 2\n---\n"),
        ("---\na: &x old # c\nb: 2\n---\n", {"a": "n"}, [], "---\na: n # c\nb: 2\n---\n"),
        ("---\na: &x\n  - 1\nb: 2\n---\n", {"a": [2]}, [], "---\na:\n  - 2\nb: 2\n---\n"),
        ("---\na: !!str 5 # c\n---\n", {"a": 6}, [], "---\na: 6 # c\n---\n"),
        ("---\nt:\n- a\n- b\nc: 1\n---\n", {"t": ["a", "b", "d"]}, [],
         "---\nt:\n- a\n- b\n- d\nc: 1\n---\n"),
        ("---\nt: [a]\n...\nBody", {"t": ["x: y", "b"]}, [],
         "---\nt: ['x: y', b]\n...\nBody"),
        # A blank line after what is removed would become text of the value above.
        ("---\na: |+\n  x\nb: 1\n\nc: 2\n---\n", {}, ["b"], "---\na: |+\n  x\nc: 2\n---\n"),
        ("---\na: |\n  x\nb: 1\n  # c\nc: 2\n---\n", {}, ["b"], "---\na: |\n  x\nc: 2\n---\n"),
        ("---\na: 1\n---\n", {"a": True}, [], "---\na: true\n---\n"),
        ("---\na: 1\n---\n", {"a": 1.0}, [], "---\na: 1.0\n---\n"),
        ("---\na: 'x'\n---\n", {"a": "it's"}, [], "---\na: 'it''s'\n---\n"),
        ("---\na: 1\n---\n", {}, ["a"], "---\n---\n"),
    ],
)  # fmt: skip
def test_edits_of_unusual_texts(text, changes, removals, expected):
    assert edit(text, changes, removals) == expected


ALIASED = "---\n# one\ntags: &id001\n- a # two\n- b\nother: *id001 # three\nz: 1\n---\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"z": 2}, ALIASED.replace("z: 1", "z: 2")),
        ({"other": ["q"]}, ALIASED.replace("*id001 #", "[q] #")),
        # The alias would follow its anchor: both are written out.
        ({"tags": ["a"]}, "---\ntags:\n  - a\nother:\n  - a\n  - b\nz: 1\n---\n"),
    ],
)
def test_an_alias_is_replaced_where_it_stands(changes, expected):
    assert edit(ALIASED, changes) == expected


def test_a_change_wins_over_a_removal_of_the_same_field():
    assert edit("---\na: 1\n---\n", {"a": 2}, ["a"]) == "---\na: 2\n---\n"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"a": "\x07"}, r"'a' cannot be written: it contains the character U\+0007"),
        ({"a": ["x", {"b": "\ud800"}]}, r"'a' .* U\+D800"),
        ({"a": {"\0": 1}}, r"U\+0000"),
        ({"\x1b": 1}, r"U\+001B"),
        ({"a": "x" * 70_000}, r"do not fit: front matter has 70,\d+ characters"),
        ({"a": 10**5000}, "'a' cannot be written: an integer"),
        ({"k" * 2000: 1}, "do not fit"),
    ],
)
def test_what_cannot_be_written_is_refused(changes, reason):
    with pytest.raises(InvalidEntryError, match=reason):
        edit(PAGE, changes)


def test_a_value_may_not_be_nested_too_deeply():
    value = "x"
    for _ in range(18):
        value = [value]
    assert parse(split(edit(PAGE, {"a": value})).front)["a"] == value
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidEntryError, match="nested deeper"):
        edit(PAGE, {"a": value})


def test_a_page_that_cannot_be_read_is_not_edited():
    with pytest.raises(FrontMatterError):
        edit("---\na: *x\n---\n", {"a": 1})


def test_many_fields_are_changed_in_time_that_grows_with_the_page():
    page = "---\n" + "".join(f"k{i}: {i}\n" for i in range(2000)) + "---\n"
    assert edit(page, {f"k{i}": i + 1 for i in range(2000)}).count("\n") == 2002


WORDS = ["x", "two words", "yes", "null", "~", "2024-01-01", "12:30", "1e3", "007", "# no",
         "a: b", "-", "- x", "it's", 'say "hi"', "", " ", "é🦋", "a,b", "[x", "tab\there",
         "one\ntwo", "l\n\nm\n", "\n", " in\n dented", "end:", "\u2028", "a #b", "nbsp\xa0",
         "back\\slash", "@x", "<<", "=", "...",
         "---", "0o7", "\ufeff"]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_a_value_is_read_as_it_was_rendered(value):
    assert same(parse(f"a: {flow(value, inside=False)}\n")["a"], value)
    assert same(parse(f"[{flow(value)}]\n".join(["a: ", ""]))["a"], [value])
    assert same(parse("\n".join(block({"a": value})) + "\n")["a"], value)


@dataclass
class Field:
    """A field as somebody may have typed it."""

    name: str
    text: str
    comment: str = ""
    trailing: str = ""


@st.composite
def fields(draw, name):
    space = draw(st.sampled_from([" ", "   "]))
    comment = draw(st.sampled_from(["", "  # über", " #"]))
    indent = draw(st.sampled_from(["", "  ", "    "]))
    flowing = [
        "plain", "zwei Wörter", "'it''s'", '"say \\"x\\" 🦋"', "12", "true", "2024-01-01", "null",
        "~", "[a, 'b, c', [1]]", "{x: 1, 'y': [z]}", "[]", "[ a,\n   b ]", '"two\n  lines"',
        f"&n{len(name)}{ord(name[0])} x",
        "!!str 5",
    ]  # fmt: skip
    style = draw(st.sampled_from(["flow", "flow", "empty", "list", "literal", "nest", "wrapped"]))
    if style == "flow":
        text = f"{name}:{space}{draw(st.sampled_from(flowing))}{comment}\n"
    elif style == "empty":
        text = f"{name}:{comment}\n"
    else:
        mark = draw(st.sampled_from(["|", ">", "|-", ">-", "|2"]))
        text = {
            "list": f"{name}:{comment}\n{indent}- a # eins\n\n{indent}# in\n{indent}- {{k: ü}}\n",
            "literal": f"{name}: {mark}\n  é\n\n  b # no\n",
            "nest": f"{name}:\n {indent}k: [1]\n {indent}l:\n {indent}  - x\n {indent}m:\n",
            "wrapped": f"{name}: several\n  lines here\n",
        }[style]
        comment = ""
    trailing = draw(st.sampled_from(["", "\n", "# danach\n", "\n# 'c: 1'\n\n# d\n"]))
    return Field(name, text, comment, trailing)


@st.composite
def pages(draw):
    names = draw(st.lists(st.sampled_from(["a", "b", "ü", '"q r"', "title", "tags"]), unique=True))
    return [draw(fields(name)) for name in names]


@given(
    pages(),
    st.dictionaries(
        st.sampled_from(["a", "b", "ü", "q r", "title", "tags", "new", "1: x"]), VALUES
    ),
    st.sets(st.sampled_from(["a", "b", "ü", "q r", "title", "tags"])),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]),
)
def test_only_what_is_edited_changes(page, changes, removals, newline, loader):
    def typed(text):
        return text.replace("\n", newline)

    removals -= changes.keys()
    if "tags" in changes:
        changes["tags"] = ["x", "y"]
    if "title" in changes:
        changes["title"] = str(changes["title"])
    front = typed("# top\n" + "".join(field.text + field.trailing for field in page))
    body = typed("\n# Body\n---\na: 1\n---\n")
    text = typed("---\n") + front + typed("---\n") + body
    with mock.patch.object(frontmatter, "_LOADER", loader):
        present = parse(front)
        new = split(edit(text, changes, removals))
        assert same(parse(new.front), {
            **{name: value for name, value in present.items() if name not in removals}, **changes
        })  # fmt: skip
        assert edit(str(new), changes, removals) == str(new)
    assert new.rest == body

    pattern = re.escape(typed("# top\n"))
    for field in page:
        name = field.name.strip('"')
        if name in removals:
            pattern += re.escape(typed(field.trailing))
        elif name in changes and not same(changes[name], present[name]):
            pattern += f"{re.escape(field.name)}:.*?{re.escape(typed(field.comment))}.*?"
            pattern += re.escape(typed("\n" + field.trailing))
        else:
            pattern += re.escape(typed(field.text + field.trailing))
    assert re.fullmatch(pattern + ".*", new.front, re.DOTALL)

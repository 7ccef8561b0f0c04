"""Tags in the text of notes, and where templates are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.markdown import document
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.obsidian import inline_tags, template_folder, with_tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#one two #three-4 and\n#five/six_7", ["one", "three-4", "five/six_7"]),
        ("# Heading\n\n## #tag", ["tag"]),
        ("#Été #日本 #a1 #1a", ["Été", "日本", "a1", "1a"]),
        ("#Tag #tag #TAG", ["Tag"]),
        ("#a, #b. (#no) x#no #c! #d/ #1 #2024 #", ["a", "b", "c", "d"]),
        ("`#no` #yes\n\n```\n#no\n```\n\n    #no", ["yes"]),
        ("%% #no %% #yes <!-- #no --> %% #too", ["yes", "too"]),
        ("[[note #no]] [x](#no) https://example.org/#no", []),
        (r"\#no", []),
        ("- [ ] #todo\n> #quoted\n\n| a |\n|---|\n| #cell |", ["todo", "quoted", "cell"]),
    ],
)
def test_tags_in_text(text: str, tags: list[str]) -> None:
    assert list(inline_tags(text)) == tags


def test_they_are_added_to_those_of_the_front_matter() -> None:
    raw = b"---\n# kept\naliases: [b]\ntags: [One] # kept too\n---\n\r\ntext #one #two\r\n"
    added = with_tags(raw)
    assert added == raw.replace(b"[One]", b"[One, two]")
    assert with_tags(added) == added


def test_a_note_without_front_matter_gets_some() -> None:
    assert with_tags(b"text #one") == b"---\ntags:\n  - one\n---\n\ntext #one"


@pytest.mark.parametrize("raw", [b"", b"text", b"---\ntags: one two\n---\n#two\n", b"#1\r\n"])
def test_a_note_without_new_tags_keeps_its_bytes(raw: bytes) -> None:
    assert with_tags(raw) == raw


def test_the_older_spelling_counts() -> None:
    assert document.read(with_tags(b"---\ntag: a, b\n---\n#c"), "x").tags == ("a", "b", "c")


def test_bad_front_matter_is_told_with_its_line() -> None:
    with pytest.raises(DocumentError) as caught:
        with_tags(b"---\ntitle: {{title}}\n---\n#tag\n")
    assert caught.value.line == 2


@given(st.text(st.sampled_from("#ab/-1 \n\r`%~\t[]<!>"), max_size=60))
def test_the_body_is_not_touched(body: str) -> None:
    for raw in (body.encode(), f"---\ntitle: T\n---\n\n{body}".encode()):
        before = document.read(raw, "x")
        after = document.read(with_tags(raw), "x")
        assert after.body == before.body
        assert after.tags == inline_tags(before.body)


def test_a_template_folder_is_what_the_settings_name() -> None:
    assert template_folder('{"folder": "/My templates/"}', "folder") == "My templates"
    for settings in ("", "[]", "{}", '{"folder": 1}', '{"folder": "/"}', "[" * 100_000):
        assert template_folder(settings, "folder") is None

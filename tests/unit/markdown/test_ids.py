"""Ids and paths: each from the other, and neither out of the folder."""

import os
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.errors import InvalidEntryError, UnreadableFileError
from pyrite.markdown.ids import check_id, entry_id, is_entry_file, slug
from pyrite.vault.files import read_file
from pyrite.vault.paths import resolve


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("a.md", "a"),
        ("a/B.MARKDOWN", "a/B"),
        ("a/b.md.Md", "a/b.md"),
        ("Cafe\u0301.md", "Caf\u00e9"),
        ("a.txt", "a.txt"),
    ],
)
def test_the_id_is_the_path_without_the_ending(path, id_):
    assert entry_id(path) == id_


def test_an_id_is_given_back_in_one_normal_form():
    assert check_id("notes/Cafe\u0301 🦋") == "notes/Caf\u00e9 🦋"


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        ("", "single|one slash"),
        ("/a", "one slash"),
        ("a/", "one slash"),
        ("a//b", "one slash"),
        (".", "begin with a dot"),
        ("a/../b", "begin with a dot"),
        ("a/.git", "begin with a dot"),
        ("a\\b", "backslash"),
        ("a\0b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\u2028b", r"U\+2028"),
        ("a\udcffb", r"U\+DCFF"),
        ("a /b", "white space"),
        ("a/ b", "white space"),
        ("a.md", "leave off"),
        ("a.Markdown", "leave off"),
        ("a/" + "é" * 101, "longer than 200 bytes"),
        ("abc/" * 250 + "x", "longer than 1,000 bytes"),
    ],
)
def test_what_cannot_be_an_id_is_refused_with_advice(id_, reason):
    with pytest.raises(InvalidEntryError, match=reason) as caught:
        check_id(id_)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("title", "id_"),
    [
        ("Hello, World!", "hello-world"),
        ("  Don\u2019t panic  ", "dont-panic"),
        ("Über Größe", "über-größe"),
        ("हिन्दी भाषा", "हिन्दी-भाषा"),
        ("C++ & ../etc/passwd.md", "c-etc-passwd-md"),
        ("!!!", "entry"),
        ("", "entry"),
        ("x" * 100, "x" * 80),
        ("word " * 40, "-".join(["word"] * 16)),
        ("字" * 100, "字" * 66),
    ],
)
def test_a_slug_is_pleasant(title, id_):
    assert slug(title) == id_


@given(st.text())
def test_a_slug_is_always_an_id(title):
    name = slug(title)
    assert check_id(name) == name
    assert len(name) <= 80
    assert "/" not in name


NAMES = st.lists(
    st.sampled_from(["..", ".", "/", "a", "b.md", ".md", "out", "in", "loop", "file.md", "\\",
                     "\0", " ", "~", "é", "\udcff"]),
    max_size=7,
).map("".join) | st.text(max_size=10)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with links out, in, and around, next to a secret."""
    base = tmp_path_factory.mktemp("place")
    root = base / "root"
    (root / "a").mkdir(parents=True)
    (base / "secret.md").write_text("secret")
    (base / "b.md").write_text("secret")
    (root / "file.md").write_text("open")
    (root / "a" / "b.md").write_text("open")
    (root / "out").symlink_to(base)
    (root / "in").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    (root / "secret.md").symlink_to(base / "secret.md")
    (root / "a" / "inside.md").symlink_to(root / "file.md")
    return root


@given(relative=NAMES)
def test_no_path_leads_out_of_the_root(place, relative):
    try:
        path = resolve(place, relative)
    except InvalidEntryError:
        pass
    else:
        assert path.resolve() == path.absolute()
        assert path.is_relative_to(place)
    with suppress(UnreadableFileError, FileNotFoundError):
        assert read_file(place, relative, max_bytes=100).raw == b"open"


@pytest.mark.parametrize(
    ("relative", "reason"),
    [
        ("out/x.md", "through the link 'out'"),
        ("in/x.md", "through the link 'in'"),
        ("a/../x.md", "begin with a dot"),
        ("../x.md", "begin with a dot"),
        ("/etc/x.md", "one slash"),
        ("secret.md", "a link, a folder"),
        ("a/inside.md", "a link, a folder"),
        ("file.md/x.md", "cannot be a file: Not a directory"),
        ("a/b", "let it end in .md"),
    ],
)
def test_where_nothing_may_be_written(place, relative, reason):
    with pytest.raises(InvalidEntryError, match=reason):
        resolve(place, relative)


def test_where_something_may_be_written(place):
    for relative in ("a/b.md", "new/folder/x.MD", "é.markdown"):
        assert resolve(place, relative) == place / relative
    assert unicodedata.is_normalized("NFC", "é")
    assert is_entry_file("x.mArkDown")
    assert not os.path.lexists(place / "new")

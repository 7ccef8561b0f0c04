"""A file's bytes are read as an entry, and an entry is written as such bytes."""

import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from pyrite.errors import InvalidEntryError
from pyrite.markdown.document import create, read, update
from pyrite.markdown.entry import Entry, json_safe
from pyrite.markdown.frontmatter import DocumentError, FrontMatterError

CORPUS = Path(__file__).parents[3] / ".." / "shared" / "corpus" / "nodejs-en.tar.gz"
INLINE_PAGES = [
    b"---\ntitle: One\nlayout: page\n---\n\n# One\n",
    b"---\r\nlayout: page\r\ntitle: 'Two'  # two\r\n---\r\nText\r\n",
    b'\xef\xbb\xbf---\ndate: 2024-01-01\ntitle: "Dr\xc3\xbc\xc3\xbc"\ntags:\n- a\n---\n\nText',
]


def real_pages():
    if not CORPUS.exists():
        return INLINE_PAGES
    with tarfile.open(CORPUS) as archive:
        members = [member for member in archive if member.name.endswith(".md")]
        return [archive.extractfile(member).read() for member in members]


def test_a_page_is_read():
    raw = (
        b"\xef\xbb\xbf---\r\ntitle: Caf\xc3\xa9\r\ntype: guide\r\nsummary: Short\r\n"
        b"tags: ['#a', b, '', a]\r\nn: 1\r\n---\r\n\r\n\r\nBody\r\n"
    )
    assert read(raw, "x/y") == Entry(
        "x/y", "guide", "Café", "Short", ("a", "b"), "\r\nBody\r\n", {"n": 1}
    )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("", "y"),
        ("# Head\n", "Head"),
        ("text\n\n   #   Head of it ##  \n# Second\n", "Head of it"),
        ("---\ntitle: '  '\n---\n# Head\n", "Head"),
        ("---\ntitle: [a]\n---\n# Head\n", "Head"),
        ("---\ntitle: 1984\n---\n# Head\n", "1984"),
        ("---\ntitle: No\n---\n# Head\n", "No"),
        ("## Two\n#none\n#\n# #\n    # code\n# C#\r\n", "C#"),
        ("```sh\n# no\n``\n~~~\n```x\n  ```  \n# Head\n", "Head"),
        ("~~~~ x\n# no\n~~~\n# no\n~~~~~\n# Head", "Head"),
        ("```a`b\n# Head\n", "Head"),
        ("```\n# no\n", "y"),
    ],
)
def test_a_title_is_found(text, title):
    assert read(text.encode(), "x/y").title == title


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ("", ()),
        ("a, b , , a", ("a", "b")),
        ("'#a #b  c'", ("a", "b", "c")),
        ("[x y, '##z', 5, yes, ~, [q], {r: s}, ' ']", ("x y", "z", "5", "yes")),
        ("2024", ("2024",)),
        ("{a: b}", ()),
    ],
)
def test_tags_are_found(written, tags):
    assert read(f"---\ntags: {written}\n---\n".encode(), "x").tags == tags


@pytest.mark.parametrize(
    ("raw", "line", "reason"),
    [
        (b"one\ntwo\ncaf\xe9", 3, "0xE9 is not UTF-8"),
        (b"---\na: 1\n---\n\xff", 4, "0xFF"),
        (b"\xff\xfea\x00", 1, "UTF-16"),
        (b"one\ntw\0o", 2, "NUL"),
        (b"---\n\xed\xa0\x80: 1\n---\n", 2, "not UTF-8"),
        (b"---\na: 1\nb: *x\n---\n", 3, "no anchor above it"),
    ],
)
def test_what_is_no_text_is_refused(raw, line, reason):
    with pytest.raises(DocumentError, match=reason) as caught:
        read(raw, "x")
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


BYTES = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([b"---", b"\n", b"\r\n", b"a: ", b"- ", b"[", b"&x", b"*x", b"\0",
                         b"\xe9", b"!!int ", b"\xef\xbb\xbf", "é".encode(), b"|", b"'", b": ",
                         b"title", b"tags", b"{", b"}"]),
        max_size=20,
    ).map(lambda pieces: b"---\n" + b"".join(pieces) + b"\n---\n"),
)  # fmt: skip


@given(BYTES)
def test_reading_raises_nothing_but_the_documented_error(raw):
    try:
        entry = read(raw, "folder/name")
    except DocumentError:
        return
    assert entry.title
    assert entry.type
    assert update(raw, changes={}, body=entry.body) == raw
    assert json_safe(entry.fields) == entry.fields


PRINTABLE = st.characters(
    exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
).filter(lambda char: ord(char) & 0xFFFF < 0xFFFE)
TEXT = st.one_of(
    st.sampled_from(["yes", "2024-01-01", "null", "# x", ": ", "a\nb", "a\r\nb", " x ",
                     "🦋", "\x85", "12:30"]),
    st.text(st.one_of(PRINTABLE, st.sampled_from("\t\n\r\x85:#-'\"[]{}, ")), max_size=20),
)  # fmt: skip
BODY = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
FIELDS = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)  # fmt: skip


@given(st.tuples(TEXT, TEXT, TEXT), st.lists(TEXT, max_size=3), BODY, FIELDS)
@example(("", "", ""), [], "\n---\n", {})
@example(("T", "t", "s"), ["a"], "---\na: 1\n---\n\ufeff", {"": ""})
def test_what_is_created_is_read_back(texts, tags, body, fields):
    type_, title, summary = texts
    raw = create(type=type_, title=title, summary=summary, tags=tags, body=body, fields=fields)
    entry = read(raw, "the/id")
    wanted_tags = dict.fromkeys(re.sub(r"^[#\s]+|\s+$", "", tag) for tag in tags)
    assert entry.body == (body if not body or body.endswith("\n") else body + "\n")
    assert entry.type == (type_ if type_.strip() else "note")
    assert not title.strip() or entry.title == title
    assert entry.summary == (summary if summary.strip() else "")
    assert entry.tags == tuple(tag for tag in wanted_tags if tag)
    assert entry.fields == fields


def test_a_created_file_is_pleasant_to_read():
    raw = create(
        title="Über uns: alles",
        summary="One\nTwo",
        tags=["a", "b c"],
        body="Hello",
        fields={"n": 1, "of": {"x": [], "y": [{"k": "v", "l": None}]}},
    )
    assert raw.decode() == (
        "---\ntitle: 'Über uns: alles'\ntype: note\nsummary: |-\n  One\n  Two\n"
        "tags:\n  - a\n  - b c\nn: 1\nof:\n  x: []\n  y:\n    - k: v\n      l: null\n"
        "---\n\nHello\n"
    )
    assert create(title="T") == b"---\ntitle: T\ntype: note\n---\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"title": "a\0"}, "'title' cannot be written: it contains the character U\\+0000"),
        ({"summary": "\ud800"}, "'summary'"),
        ({"tags": ["ok", "\x1b"]}, "'tags'"),
        ({"type": "\x7f"}, "'type'"),
        ({"fields": {"deep": [{"x": "\x00"}]}}, "'deep'"),
        ({"fields": {"tags": ["a"]}}, "'tags' is no extra field"),
        ({"body": "a\0"}, "body must not contain a NUL"),
        ({"body": "a\ud800"}, "half a character"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(arguments, reason):
    with pytest.raises(InvalidEntryError, match=reason):
        create(**{"title": "T", **arguments})


@given(
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from(["", "---\n---\n", "---\na: 1\n---\n\n", "---\r\na: 1\r\n---\r\n\r\n",
                     "---\na: 1\n---",
                     "---\na: 1\n...  \n", "---\nno front matter"]),
    st.text(st.sampled_from("\n\r-a:. #\ufeff"), max_size=12),
    st.text(st.sampled_from("\n\r-a:. #\ufeff"), max_size=12),
)  # fmt: skip
def test_a_new_body_is_read_back_and_the_head_stays(bom, head, old, new):
    raw = f"{bom}{head}{old}".encode()
    try:
        before = read(raw, "x")
    except FrontMatterError:
        reject()  # the old body closed the fence
    assert update(raw, changes={}, body=before.body) == raw
    after = update(raw, changes={}, body=new)
    assert read(after, "x").body == new
    assert read(after, "x").fields == before.fields


def test_an_update_that_says_the_same_changes_no_byte():
    raw = b"---\ntitle: T\ntags: '#a, b'\nn: 0x10\n---\nBody"
    same = {"title": "T", "tags": ["a", "b"], "type": "note", "summary": "", "n": 16}
    assert update(raw, changes=same, removals=["gone"], body="Body") == raw
    assert update(raw, changes={"n": 17}).count(b"n: 17\n") == 1
    assert update(raw, changes={}, removals=["tags"], body="New") == (
        b"---\ntitle: T\nn: 0x10\n---\nNew"
    )


def test_a_page_that_cannot_be_read_is_not_updated():
    with pytest.raises(FrontMatterError):
        update(b"---\na: [\n---\n", changes={"a": 1})
    with pytest.raises(DocumentError):
        update(b"\xe9", changes={}, body="x")


def test_a_new_title_changes_one_line_of_each_real_page():
    pages = real_pages()
    assert len(pages) in {1045, len(INLINE_PAGES)}
    for raw in pages:
        entry = read(raw, "page")
        edited = update(raw, changes={"title": "A new: title"})
        old, new = raw.splitlines(keepends=True), edited.splitlines(keepends=True)
        assert len(old) == len(new)
        changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
        assert changed[0][0].startswith(b"title:")
        assert read(edited, "page").title == "A new: title"
        assert update(edited, changes={"title": entry.title}, body=entry.body).count(b"\n") == (
            raw.count(b"\n")
        )

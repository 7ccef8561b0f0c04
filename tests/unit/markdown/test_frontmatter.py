"""Front matter is found, read within limits, and refused with a reason and a line."""

from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pyrite.markdown import frontmatter
from pyrite.markdown.frontmatter import FrontMatterError, parse, split

LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


@pytest.fixture(params=LOADERS, autouse=True)
def _loader(request, monkeypatch):
    monkeypatch.setattr(frontmatter, "_LOADER", request.param)


@pytest.mark.parametrize(
    ("text", "front", "rest"),
    [
        ("", None, ""),
        ("---", None, "---"),
        ("---\n", None, "---\n"),
        ("---\na: 1\n", None, "---\na: 1\n"),
        ("---\n---", "", ""),
        ("---\na: 1\n---\nbody", "a: 1\n", "body"),
        ("---  \na: 1\n... \nbody", "a: 1\n", "body"),
        ("---\r\na: 1\r\n---\r\n\r\nbody", "a: 1\r\n", "\r\nbody"),
        ("\ufeff---\na: 1\n---\n", "a: 1\n", ""),
        ("--- a\n---\n", None, "--- a\n---\n"),
        (" ---\n---\n", None, " ---\n---\n"),
        ("\n---\na: 1\n---\n", None, "\n---\na: 1\n---\n"),
        ("---\ra: 1\r---\r", None, "---\ra: 1\r---\r"),
        ("---\na: 1\n----\n---\n", "a: 1\n----\n", ""),
        ("---\na: 1\n---\n---\n", "a: 1\n", "---\n"),
        ("\ufeffbody", None, "body"),
    ],
)
def test_front_matter_is_between_two_fences(text, front, rest):
    parts = split(text)
    assert (parts.front if parts.opening else None, parts.rest) == (front, rest)
    assert str(parts) == text


@given(st.text(st.sampled_from("-.\n\r a:\ufeff\t"), max_size=40))
def test_the_pieces_make_up_the_text(text):
    assert str(split(text)) == text


@pytest.mark.parametrize(
    ("front", "mapping"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("~", {}),
        ("{}", {}),
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}),
        ("a: 1\na: 2\n", {"a": 2}),
        ("? a\n: b\n", {"a": "b"}),
        ("on: push\nyes: y\n1: x\n2024-01-01: z\nnull: q\n? \n: r\n",
         {"on": "push", "yes": "y", "1": "x", "2024-01-01": "z", "null": "q", "": "r"}),
        ("a: {no: 1, 2: b}\n", {"a": {"no": 1, "2": "b"}}),
        ("<<: {a: 1}\nb: 2\n", {"a": 1, "b": 2}),
        ("<<: text\n", {"<<": "text"}),
        ("tags: &id001\n- a\n- 007\nother: *id001\n",
         {"tags": ["a", "007"], "other": ["a", "007"]}),
        ("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n",
         {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", {"a": 1, "b": 1, "c": 2, "d": 2}),
        ("d: 2024-01-02\nt: 2024-01-02 03:04:05\n",
         {"d": "2024-01-02", "t": "2024-01-02T03:04:05"}),
        ("a: .nan\nb: -.inf\nc: 1.5\n", {"a": "nan", "b": "-inf", "c": 1.5}),
        ("a: !!binary aGk=\nb: !!set {y, x}\nc: !!omap [k: 1]\n",
         {"a": "aGk=", "b": ["x", "y"], "c": [["k", 1]]}),
        ("at: 12:30\nlasts: 1:30.5\nn: 007\n", {"at": "12:30", "lasts": "1:30.5", "n": 7}),
        ("title: No\ntype: 1.10\nsummary: 2024-01-01\ntags: [007, yes, ~, 1e3]\n",
         {"title": "No", "type": "1.10", "summary": "2024-01-01",
          "tags": ["007", "yes", None, "1e3"]}),
        ("a: 1\rb: 2\r", {"a": 1, "b": 2}),
        ("é: ü\r\nemoji: 🦋\r\n", {"é": "ü", "emoji": "🦋"}),
    ],
)  # fmt: skip
def test_front_matter_is_read(front, mapping):
    assert parse(front) == mapping


#: A few lines whose aliases stand for nine to the eighth values, and for thirty levels.
BOMB = "a0: &a0 [1, 2]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
DEEP = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("front", "line", "reason"),
    [
        ("a: 1\nb: *x\n", 3, r"the alias \*x has no anchor above it"),
        ("a: 1\nb: &x [*x]\n", 3, r"the alias \*x stands in what it stands for"),
        (BOMB, 7, "stand for more than 262,144 characters"),
        (DEEP, 21, "nested deeper than 20 levels"),
        ("a: 1\nb: " + "[" * 60_000, 3, "nested deeper than 20 levels"),
        ("- " * 3000, 2, "nested deeper"),
        ("? " * 3000, 2, "nested deeper"),
        ("a: " + "x" * 70_000, 2, "70,003 characters, more than 65,536"),
        ("a: 1\nb: " + "9" * 5000, 3, "'b': an integer with too many digits"),
        ("b: 0x" + "f" * 50_000, 2, "'b': an integer with too many digits"),
        ("a: 1\nd: 2024-13-45\n", 3, "'d': month must be in 1..12"),
        ("d: 2024-01-01 25:00:00\n", 2, "'d': hour must be in 0..23"),
        ("a: 1\n? [b]\n: c\n", 3, "a key must be text"),
        ("a: 1\nx: {? [q] : b}\n", 3, "unhashable key"),
        ("- a\n", 2, "lines of \"key: value\""),
        ("text\n", 2, "lines of \"key: value\""),
        ("!!set {a}\n", 2, "lines of \"key: value\""),
        ("a: 1\nb: !!python/object:os.system x\n", 3, "constructor for the tag '!!python/object"),
        ("a: 1\nb: !mine x\n", 3, "leave the !tag off"),
        ("a: 1\nb: !!timestamp x\n", 3, "'b': a value does not fit its !!tag"),
        ("a: !!bool x\n", 2, "'a': a value does not fit"),
        ("a: !!int ''\n", 2, "'a': a value does not fit"),
        ("a: !!binary é\n", 2, "base64"),
        ("a:\n\tb: 1\n", 3, "indent with spaces, not tabs"),
        ("a: 1\nb: c: d\n", 3, 'quote a value that contains ": "'),
        ("a: 1\nb: 'x\nc: 2\n", 3, "a quotation mark is missing"),
        ("a: 1\nb: [1, 2\n", 3, "expected ',' or '\\]'"),
        ("a: 1\nb: \x07\n", 3, r"the character U\+0007"),
        ("a: 1\nb: \ud800\n", 3, r"the character U\+D800"),
        ('a: 1\nb: "\\0"\n', 3, "'b': text must not contain a NUL"),
        ('a: 1\nb: "\\ud800"\n', 3, "surrogates not allowed|invalid Unicode character"),
        ("%YAML 1.1\n", 2, "document"),
        ("a: 1\n--- \nb: 2\n--- x\n", None, "document"),
    ],
)  # fmt: skip
def test_bad_front_matter_is_refused_with_a_reason_and_a_line(front, line, reason):
    with pytest.raises(FrontMatterError, match=reason) as caught:
        parse(front, first_line=2)
    assert "\n" not in caught.value.reason
    assert caught.value.line is not None
    if line:
        assert caught.value.line == line


YAML_PIECES = [
    "a", "b", ": ", ":", "\n", "\r\n", "  ", "\t", "- ", "[", "]", "{", "}", ",", "? ", "|", ">",
    "+", "&x ", "*x", "!!int ", "!!set ", "!!omap ", "!!pairs ", "!!timestamp ", "!!binary ",
    "!!float ", "!!bool ", "!", "'", '"', "#", " #", "%", "@", "1", "0x", "0b", "_", ".", "e", "-",
    "2024-99-99", "2024-01-01 00:00:00 +99:99", "<<", "=", "~", "\\", "\\ud800", "\\x00", "\ufeff",
    "é", "🦋", "\x85", "\u2028", "\0", "\x1b", "---", "...", "null", "1:99", ".inf", "9" * 4400,
]  # fmt: skip


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=25).map("".join), st.sampled_from(LOADERS))
def test_nothing_but_the_documented_error_is_raised(front, loader):
    with mock.patch.object(frontmatter, "_LOADER", loader):
        mapping, error = outcome(front)
    if error:
        assert error.reason
        assert "\n" not in error.reason
        assert 2 <= error.line <= front.count("\n") + 2
    else:
        assert all(isinstance(key, str) for key in mapping)


def outcome(front):
    try:
        return parse(front, first_line=2), None
    except FrontMatterError as error:
        return None, error

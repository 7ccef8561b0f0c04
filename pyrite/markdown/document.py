"""A file's bytes as an entry, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pyrite.errors import InvalidEntryError
from pyrite.markdown import editing
from pyrite.markdown.entry import (
    DEFAULT_TYPE,
    JSON,
    Entry,
    check_extra,
    from_front_matter,
    tags_of,
    text_of,
)
from pyrite.markdown.frontmatter import DocumentError, Parts, parse, split


def read(raw: bytes, entry_id: str) -> Entry:
    """Return the entry that a file's bytes hold.

    Raises:
        DocumentError: the bytes are not UTF-8 text.
        FrontMatterError: the front matter cannot be read.
    """
    parts = split(_decoded(raw))
    return from_front_matter(entry_id, parse(parts.front, first_line=2), _separated(parts)[1])


def create(
    *,
    type: str = DEFAULT_TYPE,  # noqa: A002 - it is what the field is called
    title: str,
    summary: str = "",
    tags: Sequence[str] = (),
    body: str = "",
    fields: Mapping[str, JSON] | None = None,
) -> bytes:
    """Return the bytes of a new file, which `read` gives back as they were put in.

    A body that does not end in a newline gets one. A blank title is left out, so that the
    body's heading or the id serves.

    Raises:
        InvalidEntryError: something cannot be written; the message names the field.
    """
    fields = fields or {}
    check_extra(fields)
    own: dict[str, JSON] = {
        "title": text_of(title),
        "type": text_of(type),
        "summary": text_of(summary),
        "tags": tags_of(tags),
    }
    given = {name: value for name, value in own.items() if value}
    text = editing.edit("---\n---\n", {**given, **fields})
    if body and not body.endswith("\n"):
        body += "\n"
    return _encoded(_with_body(split(text), body))


def update(
    raw: bytes,
    *,
    changes: Mapping[str, JSON],
    removals: Collection[str] = (),
    body: str | None = None,
) -> bytes:
    """Return a file's bytes with some fields set or removed, and with a new body if one is given.

    Whatever says the same already keeps its bytes.

    Raises:
        DocumentError: the present bytes are not UTF-8 text.
        FrontMatterError: the present front matter cannot be read.
        InvalidEntryError: something new cannot be written; the message names the field.
    """
    text = _decoded(raw)
    present = parse(split(text).front, first_line=2)
    news = {name: value for name, value in changes.items() if not _says(present, name, value)}
    gone = [name for name in removals if name not in changes]
    text = editing.edit(text, news, gone)
    if body is not None and body != _separated(split(text))[1]:
        text = _with_body(split(text), body)
    return _encoded(text)


def lines_above_body(raw: bytes) -> int:
    """Return how many lines of a file stand before its entry's body.

    Raises:
        DocumentError: the bytes are not UTF-8 text.
    """
    parts = split(_decoded(raw))
    return str(replace(parts, rest=_separated(parts)[0])).count("\n")


def _says(present: Mapping[str, JSON], name: str, value: JSON) -> bool:
    """Whether a field reads as this value already, however it is written."""
    old = present.get(name)
    if name == "tags":
        return tags_of(old) == tags_of(value)
    if name == "type":
        return (text_of(old) or DEFAULT_TYPE) == (text_of(value) or DEFAULT_TYPE)
    return name == "summary" and text_of(old) == text_of(value)


def _separated(parts: Parts) -> tuple[str, str]:
    """Return the blank line after the front matter, if there is one, and the body."""
    if parts.closing:
        for newline in ("\n", "\r\n"):
            if parts.rest.startswith(newline):
                return newline, parts.rest[len(newline) :]
    return "", parts.rest


def _with_body(parts: Parts, body: str) -> str:
    """Return the text with another body, and with what it takes for it to be read as that."""
    separator, old = _separated(parts)
    newline = parts.newline
    if parts.closing and not parts.closing.endswith("\n"):
        parts = replace(parts, closing=parts.closing + newline)
    plain = replace(parts, rest=separator + body)
    spaced = replace(parts, rest=newline + body)
    if parts.closing and body and not old:
        plain = spaced
    fenced = Parts(parts.prefix, "---\n", "", "---\n", "\n" + body)
    for candidate in (plain, spaced, fenced):
        again = split(str(candidate))
        if again.front == parts.front and _separated(again)[1] == body:
            return str(candidate)
    raise AssertionError("unreachable: a fenced body is read back as it is")


def _decoded(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DocumentError("the file is in UTF-16; save it as UTF-8", 1) from error
        reason = f"the byte 0x{raw[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise DocumentError(reason, line) from error
    if (nul := text.find("\0")) >= 0:
        raise DocumentError("a NUL character: this is no text file", text.count("\n", 0, nul) + 1)
    return text


def _encoded(text: str) -> bytes:
    if "\0" in text:
        raise InvalidEntryError(
            "the body must not contain a NUL character; remove it", field="body"
        )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        code = f"U+{ord(text[error.start]):04X}"
        raise InvalidEntryError(
            f"the body contains half a character ({code}); remove it", field="body"
        ) from error

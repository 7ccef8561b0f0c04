"""What one Markdown file says, as plain data."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from pyrite.errors import InvalidEntryError

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

DEFAULT_TYPE = "note"

#: The front-matter fields that are attributes of an entry; every other one is in its `fields`.
OWN_FIELDS = frozenset({"type", "title", "summary", "tags"})

#: Python prints integers of at most 4,300 digits; this many bits always fit.
_MAX_INTEGER_BITS = 14_000

# Whoever writes a text also chooses what these meet. None of them may read a line more than a
# few times: what can end in several places is taken whole (`++`), and ends are stripped by `str`.
_BEFORE_TAG = re.compile(r"[#\s]*+")
_FENCE = re.compile(r" {0,3}(`{3,}+(?!.*`)|~{3,})")
_HEADING = re.compile(r" {0,3}#[ \t]++")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a knowledge base."""

    #: path inside the knowledge base's folder, without the ending
    id: str
    type: str
    title: str
    summary: str
    tags: tuple[str, ...]
    #: the Markdown after the front matter
    body: str
    #: every other front-matter field
    fields: Mapping[str, JSON]


def from_front_matter(entry_id: str, mapping: Mapping[str, JSON], body: str) -> Entry:
    """Return the entry that a file's front matter and body make."""
    return Entry(
        id=entry_id,
        type=text_of(mapping.get("type")) or DEFAULT_TYPE,
        title=text_of(mapping.get("title")) or first_heading(body) or entry_id.rpartition("/")[2],
        summary=text_of(mapping.get("summary")),
        tags=tags_of(mapping.get("tags")),
        body=body,
        fields={name: value for name, value in mapping.items() if name not in OWN_FIELDS},
    )


def check_extra(fields: Collection[str]) -> None:
    """Refuse the names of an entry's own fields among those of its other ones.

    Raises:
        InvalidEntryError: the message names the first.
    """
    if taken := OWN_FIELDS.intersection(fields):
        raise InvalidEntryError(
            f"{min(taken)!r} is no extra field: give it by its own name",
            field=f"fields.{min(taken)}",
        )


def text_of(value: JSON) -> str:
    """Return a scalar as text; blank text, null and collections give an empty string."""
    if value is None or isinstance(value, (list, tuple, Mapping)):
        return ""
    text = str(value)
    return "" if text.isspace() else text


def tags_of(value: JSON) -> tuple[str, ...]:
    """Return the tags that a list, or one string of several, names: no '#', blank or duplicate."""
    if isinstance(value, (list, tuple)):
        words = [text_of(item) for item in value]
    else:
        text = text_of(value)
        words = text.split(",") if "," in text else text.split()
    tags = (_BEFORE_TAG.sub("", word, count=1).rstrip() for word in words)
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def first_heading(body: str) -> str:
    """Return the text of the first `# heading` outside fenced code, or an empty string."""
    fence = ""
    for line in body.splitlines():
        if fence:
            mark = line.strip()
            if mark.startswith(fence) and not mark.strip(fence[0]):
                fence = ""
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif heading := _heading(line):
            return heading
    return ""


def _heading(line: str) -> str:
    """The text of a line that is a heading of the first level, without the `#` that close it."""
    opening = _HEADING.match(line)
    if not opening:
        return ""
    text = line[opening.end() :].rstrip(" \t")
    before = text.rstrip("#")
    if before.endswith((" ", "\t")):
        text = before
    return text.strip() if text.strip("# \t") else ""


def json_safe(value: object) -> JSON:
    """Return the value as JSON can hold it: dates in ISO format, bytes in base64, sets as lists.

    Raises:
        ValueError: a string or number in it can be neither stored nor printed.
    """
    match value:
        case str():
            value.encode()  # a lone surrogate is a UnicodeEncodeError here
            if "\0" in value:
                raise ValueError("text must not contain a NUL character")
        case int() if value.bit_length() > _MAX_INTEGER_BITS:
            raise ValueError("an integer with too many digits (quote it to keep it as text)")
        case Mapping():
            return {str(json_safe(key)): json_safe(item) for key, item in value.items()}
        case list() | tuple():
            return [json_safe(item) for item in value]
        case set() | frozenset():
            return [json_safe(item) for item in sorted(value, key=str)]
        case bytes():
            return base64.b64encode(value).decode()
        case date():
            return value.isoformat()
    if value is None or isinstance(value, (str, int)):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)

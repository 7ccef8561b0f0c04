"""Entries as lines of JSON, with the names that the REST API has, and back; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pyrite.errors import InvalidEntryError
from pyrite.markdown import document
from pyrite.markdown.entry import DEFAULT_TYPE, Entry, from_front_matter
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import check_id, slug

#: The fields that a line may have, with their types.
_FIELDS: Mapping[str, type] = {
    "id": str,
    "title": str,
    "type": str,
    "summary": str,
    "tags": list,
    "fields": dict,
    "body": str,
}
#: Fields of Pyrite's own answers that say nothing of the entry itself.
_IGNORED = frozenset({"kb", "path", "revision", "updated_at", "embedding"})
_TYPE_NAMES: Mapping[type, str] = {str: "a text", list: "a list of texts", dict: "an object"}


def line_of(entry: Entry) -> str:
    """An entry as one line of JSON, without its end."""
    return json.dumps({name: getattr(entry, name) for name in _FIELDS}, ensure_ascii=False)


def entry_of(line: str, *, folder: str = "") -> Entry:
    """The entry that a line holds.

    Args:
        line: one JSON object.
        folder: where the entry is to be, before its id.

    Raises:
        InvalidEntryError: it holds none; the message says what is wrong.
    """
    given = _parsed(line)
    for name, value in given.items():
        if name in _IGNORED:
            continue
        if name not in _FIELDS:
            raise InvalidEntryError(f"unknown name {name[:60]!r}; known are {', '.join(_FIELDS)}")
        texts = name != "tags" or all(isinstance(item, str) for item in value)
        if not (isinstance(value, _FIELDS[name]) and texts):
            raise InvalidEntryError(f"{name!r} has to be {_TYPE_NAMES[_FIELDS[name]]}")
    title = given.get("title", "").strip()
    if not (given.get("id") or title):
        raise InvalidEntryError("an entry needs an 'id', or a 'title' to make one from")
    entry_id = given.get("id") or slug(title)
    body = given.get("body", "")
    name = check_id(f"{folder}/{entry_id}" if folder else entry_id)
    return Entry(
        id=name,
        type=given.get("type", "") or DEFAULT_TYPE,
        title=title or from_front_matter(name, {}, body).title,
        summary=given.get("summary", ""),
        tags=tuple(given.get("tags", ())),
        body=body,
        fields=given.get("fields", {}),
    )


def _parsed(line: str) -> dict[str, Any]:
    try:
        given = json.loads(line, parse_constant=_refuse)
    except RecursionError:
        raise InvalidEntryError("not JSON that can be read: nested too deep") from None
    except json.JSONDecodeError as error:
        raise InvalidEntryError(f"not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:
        raise InvalidEntryError(f"not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidEntryError("not a JSON object: {...}")
    return given


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def file_of(entry: Entry) -> bytes:
    """The bytes of a file that is read as this entry; no more front matter than it takes.

    Raises:
        InvalidEntryError: something of it cannot be written.
    """
    derived = from_front_matter(entry.id, {}, entry.body)
    given = document.create(
        type="" if entry.type == derived.type else entry.type,
        title="" if entry.title == derived.title else entry.title,
        summary=entry.summary,
        tags=entry.tags,
        fields=entry.fields,
    )
    raw = document.update(given, changes={}, body=entry.body)
    bare = raw.removeprefix(b"---\n---\n\n")
    return bare if bare != raw and _reads_as(bare, entry) else raw


def _reads_as(raw: bytes, entry: Entry) -> bool:
    """Whether a file of these bytes is this entry; a body may begin like front matter."""
    try:
        return document.read(raw, entry.id) == entry
    except DocumentError:
        return False

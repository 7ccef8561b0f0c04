"""What the objects of the API have in common: their base, their fields, their JSON.

An object's type is what is serialized, what its schema is made from, and what its description in
the documents says. A field that only some can be told is UNSET for the others, and then is not
there: a path for those at this computer, an address within MCP for MCP's clients.

Times are in seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct, UnsetType

from actors.lifecycle import Status

JSON: TypeAlias = Any

_NO_EXAMPLE: Any = object()


def doc(description: str, example: Any = _NO_EXAMPLE, **more: Any) -> Meta:
    """What is said of a field, with an example of it and the bounds that it is held to."""
    examples = None if example is _NO_EXAMPLE else [example]
    return Meta(description=description, examples=examples, **more)


KBName = Annotated[str, doc("Its knowledge base.", "notes")]
EntryId = Annotated[str, doc("Its path without the ending.", "ops/backups")]
Revision = Annotated[
    int,
    doc("Names the write among all of the database; also the ETag, and if_revision.", 17),
]
Time = Annotated[float, doc("Seconds since the epoch.", 1795370000.0)]
Embedding = Annotated[Status, doc("Where the embedding of its present text stands.", "done")]
Path = Annotated[str, doc("Its file or folder; only told at this computer.")]
URI = Annotated[
    str,
    doc("The entry as a resource of MCP's."),
]
More = Annotated[bool, doc("Whether there are more.")]
#: What only some are told.
LocalPath = Path | UnsetType
MCPAddress = URI | UnsetType


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of the API."""


class EntryName(Answer, frozen=True):
    """Which entry."""

    kb: KBName
    id: EntryId


def plain(answer: object) -> Any:
    """An object of the API in JSON's own types."""
    return msgspec.to_builtins(answer)


def encode(answer: object) -> bytes:
    """An object of the API as JSON, on one line and as short as it can be."""
    return msgspec.json.encode(answer)

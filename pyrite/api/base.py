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

KBName = Annotated[str, Meta(description="Its knowledge base.", examples=["notes"])]
EntryId = Annotated[str, Meta(description="Its path without the ending.", examples=["ops/backups"])]
Revision = Annotated[
    int,
    Meta(
        description="Names the write among all of the database; also the ETag, and if_revision.",
        examples=[17],
    ),
]
Time = Annotated[float, Meta(description="Seconds since the epoch.", examples=[1795370000.0])]
Embedding = Annotated[
    Status, Meta(description="Where the embedding of its present text stands.", examples=["done"])
]
Path = Annotated[str, Meta(description="Its file or folder; only told at this computer.")]
URI = Annotated[
    str,
    Meta(description="The entry as a resource of MCP's."),
]
More = Annotated[bool, Meta(description="Whether there are more.")]
#: What only some are told.
LocalPath = Path | UnsetType
MCPAddress = URI | UnsetType


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of the API."""


class EntryName(Answer, frozen=True, kw_only=True):
    """Which entry."""

    kb: KBName
    id: EntryId


def plain(answer: object) -> Any:
    """An object of the API in JSON's own types."""
    return msgspec.to_builtins(answer)


def compact(answer: object) -> bytes:
    """An object of the API as JSON, on one line and as short as it can be."""
    return msgspec.json.encode(answer)

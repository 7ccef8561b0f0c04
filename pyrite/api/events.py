"""Events of the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from pyrite.api.base import Answer, Time
from pyrite.config.redaction import without_paths

if TYPE_CHECKING:
    from actors import messages

_EMBEDDED = "embed_complete"


class Event(Answer, frozen=True):
    """Something that the database says has happened; what a type adds is there only with it."""

    type: str
    seq: int
    kb: str
    id: str | UnsetType = UNSET
    revision: int | UnsetType = UNSET
    at: Time | UnsetType = UNSET
    error: str | UnsetType = UNSET
    attempts: int | UnsetType = UNSET
    queued_at: Time | UnsetType = UNSET
    embedded_at: Time | UnsetType = UNSET
    duration_ms: float | UnsetType = UNSET


def event(row: messages.Event) -> Event:
    """A row of the feed, as it is told."""
    # What is wrong with an entry may have been said by a library, which names files.
    told: dict[str, Any] = {
        name: without_paths(value) if isinstance(value, str) else value
        for name, value in row.detail.items()
        if name in Event.__struct_fields__
    }
    told |= {"type": row.type, "seq": row.seq, "kb": row.kb}
    if row.entry_id:
        told |= {"id": row.entry_id, "revision": row.revision}
    # That an entry is embedded says when by itself.
    if row.type != _EMBEDDED:
        told["at"] = row.at
    return Event(**told)

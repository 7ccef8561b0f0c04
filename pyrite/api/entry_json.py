"""An entry as JSON has it, to whomever it is told: a terminal, a client or an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrite.storage.records import StoredEntry


def entry_dict(stored: StoredEntry) -> dict[str, Any]:
    """An entry without its body, and without where its file is."""
    entry = stored.entry
    return {
        "kb": stored.kb,
        "id": entry.id,
        "type": entry.type,
        "title": entry.title,
        "summary": entry.summary,
        "tags": list(entry.tags),
        "fields": dict(entry.fields),
        "revision": stored.revision,
        "updated_at": stored.updated_at,
        "embedding": stored.embedding.value,
    }

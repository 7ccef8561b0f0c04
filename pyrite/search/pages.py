"""What a page of hits shows of its entries, read for many of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pyrite.storage.protocol import NO_WORDS
from pyrite.storage.records import Key

if TYPE_CHECKING:
    from pyrite.storage.protocol import Storage
    from pyrite.storage.records import EntryView, WordQuery

#: Entries read in one transaction. Pages are seldom longer, and their bodies are in memory then.
_AT_ONCE = 50


def views(
    storage: Storage, keys: Sequence[Key], model_id: int, query: WordQuery = NO_WORDS
) -> Iterator[EntryView]:
    """The entries in this order, without those that have been deleted since they were found."""
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        found = storage.views(part, model_id=model_id, query=query)
        yield from (found[key] for key in part if key in found)

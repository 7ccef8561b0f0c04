"""The storage protocol: what every engine offers, held to it by one conformance suite.

Methods block and may be called from any thread. Each call is one transaction, but for
:meth:`Storage.writing`, which makes one of everything done inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from actors.messages import Event
from pyrite.markdown.link_targets import Named
from pyrite.storage.embedding_protocol import Embeddings
from pyrite.storage.queue_protocol import ClaimedRows, ClaimRequest, Queue
from pyrite.storage.records import (
    EntryView,
    FeedBounds,
    FileRow,
    Filters,
    JobRow,
    Key,
    KnowledgeBase,
    LinkRow,
    Passage,
    Record,
    Space,
    StoredEntry,
    TokenRow,
    WordHit,
    WordQuery,
)

__all__ = ["EVERYTHING", "NO_WORDS", "ClaimRequest", "ClaimedRows", "Storage", "Watcher", "Writing"]

#: No filter at all.
EVERYTHING = Filters()
#: What finds nothing.
NO_WORDS = WordQuery(())


class Writing(Protocol):
    """One transaction over entries, their files and their queue rows."""

    def file(self, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
        """An entry's revision and file, or None where there is no such entry."""
        ...

    def upsert(self, records: Sequence[Record], *, priority: int, now: float) -> list[int]:
        """Write entries and queue each for embedding; returns their new revisions."""
        ...

    def restamp(self, kb: str, files: Iterable[FileRow]) -> None:
        """Note new stats of files whose content is as it was; nothing is queued."""
        ...

    def delete(self, kb: str, entry_ids: Collection[str], *, now: float) -> int:
        """Delete entries with their queue rows and chunks; returns how many there were."""
        ...


class Watcher(Protocol):
    """A watcher for commits, used from one thread."""

    def changed(self) -> bool:
        """Whether anything was committed since the last call; takes microseconds."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class Storage(Queue, Embeddings, Protocol):
    """Entries, the queue, embeddings and the feed, in one durable place."""

    def close(self) -> None:
        """Release the storage."""
        ...

    def hurry(self) -> None:
        """From now on wait for another process's transaction only for a moment.

        To be called when the process is about to end; does not block.
        """
        ...

    def changed(self) -> bool:
        """Whether anything was committed since the last call; does not block."""
        ...

    def watcher(self) -> Watcher:
        """Make a new watcher for commits, whoever makes them."""
        ...

    def time_limit(self, seconds: float) -> AbstractContextManager[None]:
        """For this thread, until the context is left: reading for longer than that is broken off.

        What is broken off raises a TimeLimitError.
        """
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """A transaction: all of it happens, or on an exception nothing."""
        ...

    # Knowledge bases

    def add_kb(self, name: str, path: str, *, now: float) -> None:
        """Register a folder.

        Raises:
            ConflictError: the name or the folder is registered already.
        """
        ...

    def kbs(self) -> list[KnowledgeBase]:
        """All knowledge bases, by name."""
        ...

    def set_availability(self, name: str, *, device: int | None, unavailable: str | None) -> None:
        """Note which disk a folder is on, and why its files cannot be reached; None: they can."""
        ...

    def remove_kb(self, name: str, *, now: float) -> bool:
        """Forget a knowledge base and its entries; False if there was none."""
        ...

    # Entries

    def entry(self, kb: str, entry_id: str) -> StoredEntry | None:
        """One entry."""
        ...

    def entries(
        self, filters: Filters = EVERYTHING, *, limit: int | None = None, offset: int = 0
    ) -> list[StoredEntry]:
        """Entries by knowledge base and id, without their bodies."""
        ...

    def ids(self, kb: str, after: str, limit: int) -> list[str]:
        """The ids of a knowledge base's entries that follow one, in order."""
        ...

    def files(self, kb: str) -> dict[str, FileRow]:
        """The files of a knowledge base as they were last read, by entry id."""
        ...

    # Links

    def links(
        self, kb: str, *, entry_id: str | None = None, keys: Collection[str] | None = None
    ) -> list[LinkRow]:
        """Links by the id of the entry that they are in, and in order of its text.

        Args:
            kb: whose entries' links.
            entry_id: those of this entry;
            keys: or those whose targets have one of these :func:`lookup_key`s.
        """
        ...

    def links_after(self, kb: str, last: LinkRow | None, limit: int) -> list[LinkRow]:
        """The links that follow one in that order, or the first of a knowledge base."""
        ...

    def names(self, kb: str, keys: Collection[str]) -> list[Named]:
        """What entries are called that have one of these :func:`name_keys`, in no order."""
        ...

    # Tokens

    def add_token(self, token: TokenRow) -> None:
        """Store a token.

        Raises:
            ConflictError: another one has the name.
        """
        ...

    def tokens(self) -> list[TokenRow]:
        """All tokens, by name."""
        ...

    def revoke_token(self, name: str) -> bool:
        """Forget a token; False if there was none of that name."""
        ...

    # Jobs

    def put_job(self, job: JobRow) -> None:
        """Store a job, or its progress; the oldest of very many are forgotten."""
        ...

    def jobs(self) -> list[JobRow]:
        """The jobs that are remembered, newest first."""
        ...

    # Searching

    def embedding_ids(self, model_id: int, filters: Filters) -> list[int]:
        """The numbers of the embeddings that serve such entries, in order."""
        ...

    def passages(self, ids: Collection[int], filters: Filters = EVERYTHING) -> list[Passage]:
        """The passages of such entries that these embeddings serve, in no particular order."""
        ...

    def with_words(
        self,
        query: WordQuery,
        filters: Filters = EVERYTHING,
        *,
        limit: int,
        offset: int = 0,
        ranked: bool = True,
    ) -> list[WordHit]:
        """The entries that contain what is looked for, best first; ties by knowledge base and id.

        Those that come first in the index, all with score 0, are found at once even where many
        have the words: ``ranked`` is then False.

        An entry is found from the moment in which its write is committed.
        """
        ...

    def similar_terms(self, word: str, most: int) -> list[str]:
        """Terms of the index that are spelled like a word, nearest first."""
        ...

    def views(
        self, keys: Sequence[Key], *, model_id: int, query: WordQuery = NO_WORDS
    ) -> dict[Key, EntryView]:
        """What is shown of entries that were found, of a whole page at once.

        Args:
            keys: the entries; those that are gone are left out.
            model_id: whose passages.
            query: the words to be highlighted.
        """
        ...

    # The feed

    def events(self, since: int, limit: int) -> list[Event]:
        """Events numbered above ``since``, in order."""
        ...

    def feed_bounds(self) -> FeedBounds:
        """The numbers of the first and the last event."""
        ...

    def prune_events(self, keep: int) -> int:
        """Delete all but the newest events; returns how many went."""
        ...

    # Health

    def problems(self) -> Mapping[str, int | str]:
        """Invariants that do not hold, by name, with how often or what; empty when all is well."""
        ...

    def space(self) -> Space:
        """How large the database is, and how much of that is empty."""
        ...

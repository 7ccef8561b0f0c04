"""What goes into the storage and what comes out: frozen values.

Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.lifecycle import Status
from pyrite.entries.entry import Entry
from pyrite.entries.files import FileStamp

#: Priorities of the queue: what a person waits for goes before what arrives in bulk.
INTERACTIVE = 0
BULK = 1
#: Held by a worker when it died: claimed last, and alone.
SUSPECT = 2

#: The coarsest steps, in seconds, in which a file system counts time (FAT's are the longest).
CLOCK_GRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A registered folder of Markdown files."""

    name: str
    #: Absolute path of the folder.
    path: str
    added_at: float


@dataclass(frozen=True, slots=True)
class FileRow:
    """What the index knows of an entry's file."""

    entry_id: str
    #: Relative to the folder, as it is spelled on disk.
    path: str
    #: Hash of the file's bytes.
    digest: bytes
    #: The stat that goes with the digest; None where it was too fresh to be trusted.
    stamp: FileStamp | None

    @classmethod
    def read_at(
        cls, now: float, entry_id: str, path: str, digest: bytes, stamp: FileStamp
    ) -> FileRow:
        """The row of a file read at ``now``; a stat that a later write could share is dropped."""
        age_s = now - max(stamp.mtime_ns, stamp.ctime_ns) / 1e9
        return cls(entry_id, path, digest, stamp if age_s > CLOCK_GRAIN_S else None)


@dataclass(frozen=True, slots=True)
class Record:
    """An entry to be written into the index, with the file that it was read from."""

    kb: str
    entry: Entry
    file: FileRow


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as the index has it."""

    kb: str
    entry: Entry
    path: str
    digest: bytes
    revision: int
    updated_at: float
    #: Where its embedding stands.
    embedding: Status


@dataclass(frozen=True, slots=True)
class DueEntry:
    """A claimed entry with its text, before anyone has split it."""

    kb: str
    entry_id: str
    title: str
    summary: str
    body: str
    revision: int
    token: str
    attempt: int
    queued_at: float
    priority: int
    #: Encode even what has been encoded before.
    force: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An entry that could not be embedded."""

    kb: str
    entry_id: str
    revision: int
    error: str
    attempts: int
    failed_at: float


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest error in the queue, whether its entry has failed for good or will be retried."""

    kb: str
    entry_id: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many entries stand where."""

    pending: int = 0
    processing: int = 0
    done: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All entries."""
        return self.pending + self.processing + self.done + self.failed

    @property
    def unfinished(self) -> int:
        """Entries that a worker still has to end."""
        return self.pending + self.processing


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process, as its last heartbeat described it."""

    worker_id: str
    pid: int
    host: str
    #: Tells this process from a later one with the same pid; None where that is unknown.
    process_started: str | None
    started_at: float
    heartbeat_at: float
    state: str
    reason: str | None
    model: str


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk of an entry in the nearest-neighbour index."""

    kb: str
    entry_id: str
    ordinal: int
    #: Range in characters of the entry's body.
    start: int
    end: int
    #: The revision that the text had when it was embedded.
    revision: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A passage near a query."""

    passage: Passage
    #: Cosine similarity to the query, from -1 to 1.
    score: float


@dataclass(frozen=True, slots=True)
class PassageChanges:
    """What has to change in a nearest-neighbour index to bring it up to ``seq``."""

    #: The feed's number that the index then agrees with.
    seq: int
    #: True when everything the index holds is to be dropped first.
    reset: bool
    #: Entries (knowledge base, id) whose passages are to be dropped.
    dropped: tuple[tuple[str, str], ...]
    #: Passages to be added, each with its embedding's bytes (float32, little-endian).
    added: tuple[tuple[Passage, bytes], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model as the database knows it."""

    model_id: int
    #: Two models with one fingerprint give the same embeddings.
    fingerprint: str
    name: str

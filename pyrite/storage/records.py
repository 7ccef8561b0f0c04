"""Records that go into the storage and come out of it: frozen values.

Times are seconds since the epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from actors.lifecycle import Status
from pyrite.markdown.entry import Entry
from pyrite.markdown.links import Link, links_of

#: Priorities of the queue: what a person waits for goes before what arrives in bulk.
INTERACTIVE = 0
BULK = 1
#: Held by a worker when it died: claimed last, and alone.
SUSPECT = 2

#: The number of no model: where it is the present one, nothing is embedded with that.
NO_MODEL = 0

#: The coarsest steps, in seconds, in which a file system counts time (FAT's are the longest).
CLOCK_GRAIN_S = 2.0

#: Knowledge base and id of an entry.
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What the file system says of a file: if none of it changed, its content did not either."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Return the stamp in a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A registered folder of Markdown files."""

    name: str
    #: Absolute path of the folder.
    path: str
    added_at: float
    #: The device number that the folder had at the last sync; None before the first.
    device: int | None = None
    #: Why its files cannot be reached; None where they can.
    unavailable: str | None = None


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
    #: The links of its body, if somebody has looked for them, as is best done with no lock held.
    links: tuple[Link, ...] | None = None

    def found_links(self) -> tuple[Link, ...]:
        """The links of its body."""
        return links_of(self.entry.body) if self.links is None else self.links


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link and the entry that it is in."""

    kb: str
    entry_id: str
    #: Of the entry's file.
    path: str
    #: Its place among the links of the entry.
    ordinal: int
    link: Link


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
class TokenRow:
    """A token: who may do what through the server."""

    #: Public: it names the token, and is the first part of what the bearer shows.
    token_id: str
    name: str
    #: "read", "write" or "admin"; each includes those before it.
    tier: str
    #: SHA-256 of the secret part.
    digest: bytes
    created_at: float
    #: None never expires.
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job: long work that was asked for, and how far it is."""

    job_id: str
    kind: str
    #: Of one knowledge base, or of all.
    kb: str | None
    #: "running", "done" or "failed".
    state: str
    #: Steps done, of how many as far as is known.
    done: int
    total: int | None
    #: What came of it, as a JSON object.
    result: str | None
    error: str | None
    created_at: float
    updated_at: float
    #: The process that does it; as in :class:`WorkerRow`.
    pid: int
    host: str
    process_started: str | None


@dataclass(frozen=True, slots=True)
class Space:
    """The disk space that a database takes, in bytes."""

    size: int
    #: Of these, what holds nothing; it is written to before the file grows.
    empty: int

    @property
    def worth_compacting(self) -> bool:
        """Whether so much of a large database is empty that making it anew is worth the time."""
        return self.size > 100 * 10**6 and self.empty > self.size / 4


@dataclass(frozen=True, slots=True)
class FeedBounds:
    """The range of the events that there are, ``first`` and ``last`` included."""

    #: The oldest that is kept; ``last + 1`` where none is.
    first: int
    #: The newest there has ever been; 0 before the first.
    last: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms that stand next to each other in a text, with a space between two."""

    text: str
    #: The last of them may go on.
    prefix: bool = False
    #: The only column of the index of words in which they count; None for any.
    column: str | None = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """A condition that holds where each of its parts does."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A condition that holds where one of its parts does."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that holds where its part does not."""

    part: Condition


#: What an entry has to be like, as a tree: it contains terms, meets filters, or a mixture.
Condition: TypeAlias = "Terms | Filters | AllOf | AnyOf | Not"


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of entries; what is empty or None leaves everything in."""

    #: Of one of these knowledge bases.
    kbs: tuple[str, ...] = ()
    #: Of one of these types.
    types: tuple[str, ...] = ()
    #: With all of these tags.
    tags: tuple[str, ...] = ()
    #: Of this day or later, and of this day or earlier, as YYYY-MM-DD. An entry's day is its
    #: front-matter field `date`; without one, when the index last saw its text change, in UTC.
    since: str | None = None
    until: str | None = None
    #: Whose front-matter fields have these values, or lists that contain them, as text.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: In whose files' paths each of these stands, in capitals or not; a star is any text.
    paths: tuple[str, ...] = ()
    #: What else has to hold.
    condition: Condition | None = None

    @property
    def whole_kbs(self) -> bool:
        """Whether nothing but the knowledge base matters."""
        return self == Filters(kbs=self.kbs)


@dataclass(frozen=True, slots=True)
class WordQuery:
    """What to look for by words; an entry with more of the rarer words ranks higher."""

    #: One of these is enough.
    words: tuple[str | Terms, ...]
    #: All of these must be there, each as it stands.
    phrases: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.phrases)


@dataclass(frozen=True, slots=True)
class WordHit:
    """An entry that contains what was looked for."""

    kb: str
    entry_id: str
    #: Okapi BM25 with weighted fields; larger is better.
    score: float


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk of an entry, with the embedding that serves it."""

    kb: str
    entry_id: str
    ordinal: int
    #: Range in characters of the entry's body.
    start: int
    end: int
    #: The revision that the text had when it was embedded.
    revision: int
    #: Titles of the headings that it stands under, outermost first.
    headings: tuple[str, ...]
    embedding_id: int


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry with what is shown of it where it has been found."""

    stored: StoredEntry
    #: Its passages in order; none where it is not embedded with the model in question.
    layout: tuple[Passage, ...]
    #: Where the words are that were looked for: ranges in characters of the body, in order.
    highlights: tuple[tuple[int, int], ...]

    @property
    def key(self) -> Key:
        """Its knowledge base and id."""
        return self.stored.kb, self.stored.entry.id


@dataclass(frozen=True, slots=True)
class EmbeddingState:
    """What a copy of a model's vectors has to agree with."""

    #: Tells this database from any other.
    database_id: str
    #: Rises whenever embeddings are deleted, or replaced under other numbers.
    generation: int
    #: How many embeddings there are.
    count: int
    #: The newest embedding's number; larger than any before it, deleted ones included.
    last_id: int


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model as the database knows it."""

    model_id: int
    #: Two models with one fingerprint give the same embeddings.
    fingerprint: str
    name: str

"""What the tests of the services have in common: a product over a folder and a real database."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import trio

from actors.lifecycle import Status
from actors.messages import Statistics, Vector
from pyrite.config.settings import Settings
from pyrite.embedding.service import EmbeddingService
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.knowledge.service import KBService
from pyrite.services.services import Services
from pyrite.storage.records import Filters, KnowledgeBase, StoredEntry
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.sync import FolderSync
from tests.fakes.encoder import FakeEncoder, embedding_of, texts_of

KB = "notes"

#: How long to wait for what surely comes, in seconds, before calling it a failure.
LONG = 30


def later() -> float:
    """A clock so far ahead that the stats of files just written are old enough to be trusted."""
    return time.time() + 60


class Words(FakeEncoder):
    """An encoder that knows which words a text has: more of them in common, more alike.

    Attributes:
        queries: every query that was encoded.
    """

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.queries: list[str] = []

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.calls.append(list(texts))
        if self.fail is not None:
            self.fail(texts)
        return [self._vector(text) for text in texts]

    def encode_query(self, text: str) -> Vector:
        self.queries.append(text)
        return self._vector(text)

    @property
    def encoded(self) -> list[str]:
        """All texts that were encoded."""
        return [text for call in self.calls for text in call]

    def _vector(self, text: str) -> Vector:
        vector = np.zeros(512, np.float32)
        vector[0] = 0.01  # no text is without any direction
        for word in re.findall(r"\w+", text.lower()):
            vector[1 + zlib.crc32(word.encode()) % 511] = 1
        return vector / np.linalg.norm(vector)


@dataclass
class Product:
    """Pyrite over one folder, `notes`, with every service at hand."""

    home: Path
    folder: Path
    settings: Settings
    opened: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.storage = self.open()
        self.kbs = KBService(self.storage, self.settings)
        self.kb: KnowledgeBase = self.kbs.add_kb(KB, self.folder)
        self.embedding = EmbeddingService(self.storage, self.settings)
        self.folders = FolderSync(self.storage, self.settings, later)

    def open(self) -> SqliteStorage:
        """One more instance over the same database, as another process would have."""
        return self.opened.enter_context(closing(SqliteStorage(self.settings.database_path)))

    def services(
        self, encoder: FakeEncoder | None = None, *, shares_encoder: bool = False, **changes: object
    ) -> Services:
        """The services of another process, with changed settings."""
        return Services(
            {},
            self.tuned(**changes),
            storage=self.open(),
            encoder=encoder or FakeEncoder(self.settings.model),
            shares_encoder=shares_encoder,
        )

    def tuned(self, **changes: object) -> Settings:
        """The settings with changes."""
        return replace(self.settings, **changes)  # type: ignore[arg-type]

    def write(self, path: str, text: str | bytes = "Text.\n") -> Path:
        """Put a file into the folder beside Pyrite, as an editor would."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def entry(self, entry_id: str) -> StoredEntry:
        """An entry as the index has it."""
        stored = self.storage.entry(KB, entry_id)
        assert stored is not None, f"{entry_id} is not indexed"
        return stored

    def status(self, entry_id: str) -> Status:
        """Where an entry's embedding stands."""
        return self.entry(entry_id).embedding

    def ids(self) -> list[str]:
        """All entries."""
        return [stored.entry.id for stored in self.storage.entries(Filters(kbs=(KB,)))]

    def embed(self, encoder: FakeEncoder | None = None) -> FakeEncoder:
        """Embed everything that is pending, one entry after another."""
        encoder = encoder or FakeEncoder()
        for stored in self.storage.entries(Filters(kbs=(KB,))):
            if stored.embedding is Status.PENDING:
                self.embedding.embed_entry(encoder, KB, stored.entry.id)
        return encoder

    def drain(self, encoder: FakeEncoder | None = None, **settings: object) -> Statistics:
        """Embed everything that is pending with a worker."""
        worker = EmbeddingWorker(
            self.storage, encoder or FakeEncoder(self.settings.model), self.tuned(**settings)
        )
        return trio.run(worker.process_queue)

    def add_kb(self, name: str) -> Path:
        """Register one more, empty folder."""
        folder = self.folder.parent / name
        folder.mkdir()
        self.kbs.add_kb(name, folder)
        return folder

    def fill(self, texts: Mapping[str, str], kb: str = KB) -> None:
        """Index many files at once: (path without its ending, text)."""
        known = self.kbs.kb(kb)
        for name, text in texts.items():
            (Path(known.path) / f"{name}.md").write_text(text, encoding="utf-8")
        self.folders.sync(known)

    def is_embedded(self, entry_id: str) -> bool:
        """Whether the entry's stored vectors are those of its present text."""
        wanted = texts_of(self.entry(entry_id).entry)
        stored = self.storage.embeddings(KB, entry_id)
        return [blob for _, blob in stored] == [embedding_of(text).tobytes() for text in wanted]

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Rows of the database, over a connection of its own; a change is committed."""
        with closing(sqlite3.connect(self.settings.database_path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def revisions(self) -> dict[str, int]:
        """Every entry's revision."""
        stored = self.storage.entries(Filters(kbs=(KB,)))
        return {each.entry.id: each.revision for each in stored}


def product(path: Path) -> Iterator[Product]:
    """A product in an empty place; afterwards its database must be sound."""
    folder = path / "notes"
    folder.mkdir()
    settings = Settings(
        home=path / "home", model=FakeEncoder().name, retry_base_s=0.0, poll_interval_s=0.002
    )
    made = Product(settings.home, folder, settings)
    with made.opened:
        yield made
        assert made.storage.problems() == {}


def set_back(path: Path, change: Callable[[], object]) -> None:
    """Make a change to a file and set its date of modification back to what it was."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

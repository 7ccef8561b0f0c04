"""What the tests of the services have in common: a product over a folder and a real database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from actors.lifecycle import Status
from pyrite.config import Settings
from pyrite.entries.chunks import chunks
from pyrite.services.embedding_service import EmbeddingService
from pyrite.services.folder_sync import FolderSync
from pyrite.services.kb_service import KBService
from pyrite.storage.driver import sqlite3
from pyrite.storage.records import KnowledgeBase, StoredEntry
from pyrite.storage.sqlite.store import SqliteStorage
from tests.fakes.encoder import FakeEncoder, embedding_of

KB = "notes"

#: How long to wait for what surely comes, in seconds, before calling it a failure.
LONG = 30


def later() -> float:
    """A clock so far ahead that the stats of files just written are old enough to be trusted."""
    return time.time() + 60


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
        return [stored.entry.id for stored in self.storage.entries(KB)]

    def embed(self, encoder: FakeEncoder | None = None) -> FakeEncoder:
        """Embed everything that is pending, one entry after another."""
        encoder = encoder or FakeEncoder()
        for stored in self.storage.entries(KB):
            if stored.embedding is Status.PENDING:
                self.embedding.embed_entry(encoder, KB, stored.entry.id)
        return encoder

    def is_embedded(self, entry_id: str) -> bool:
        """Whether the entry's stored vectors are those of its present text."""
        wanted = chunks(self.entry(entry_id).entry, FakeEncoder().window)
        stored = self.storage.embeddings(KB, entry_id)
        return [blob for _, blob in stored] == [
            embedding_of(chunk.text).tobytes() for _, chunk in wanted
        ]

    def query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """Rows of the database, over a connection of its own; a change is committed."""
        with closing(sqlite3.connect(self.settings.database_path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def revisions(self) -> dict[str, int]:
        """Every entry's revision."""
        return {stored.entry.id: stored.revision for stored in self.storage.entries(KB)}


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

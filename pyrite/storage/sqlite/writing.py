"""A transaction over entries: :class:`pyrite.storage.protocol.Writing`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pyrite.storage.records import FileRow, Record
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import entries


@dataclass(frozen=True, slots=True)
class SqliteWriting:
    """A transaction over entries."""

    conn: sqlite3.Connection

    def file(self, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
        """An entry's revision and file."""
        return entries.file(self.conn, kb, entry_id)

    def upsert(self, records: Sequence[Record], *, priority: int, now: float) -> list[int]:
        """Write entries and queue each for embedding."""
        return entries.upsert(self.conn, records, priority=priority, now=now)

    def restamp(self, kb: str, files: Iterable[FileRow]) -> None:
        """Note new stats of unchanged files."""
        entries.restamp(self.conn, kb, files)

    def delete(self, kb: str, entry_ids: Collection[str], *, now: float) -> int:
        """Delete entries."""
        return entries.delete(self.conn, kb, entry_ids, now=now)

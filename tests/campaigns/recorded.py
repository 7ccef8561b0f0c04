"""The runs that are recorded for the campaign of power loss: ``recorded OPERATION PLACE``.

What is acknowledged is written into the file ``PLACE.marks``, which is no part of the disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from pyrite.embedding.worker import EmbeddingWorker
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.connection import connect
from pyrite.storage.sqlite.migrate import migrate
from pyrite.storage.sqlite.migrations import MIGRATIONS
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft, Edit
from pyrite.vault.sync import FolderSync
from tests.campaigns.promises import GONE, KB, finish, settings_in
from tests.fakes.encoder import FakeEncoder

ENTRIES = 4

#: What the entries hold that are on the disk before the operation.
MARK = "At first."


def present(operation: str) -> list[str]:
    """The entries that are safe on the disk before an operation, and hold the mark."""
    # An editor has changed the files that are synced; these are as safe.
    changed = operation in {"sync", "settle"}
    return [] if changed else [f"note-{number}" for number in range(ENTRIES)]


def make(place: Path, operation: str) -> None:
    """What is on the disk before the operation."""
    folder, home = place / "notes", place / "home"
    folder.mkdir(parents=True)
    home.mkdir()
    for number in range(ENTRIES):
        (folder / f"note-{number}.md").write_text(f"# Note {number}\n\n{MARK}\n")
    if operation == "migrate":
        conn = connect(settings_in(home).database_path)
        migrate(conn, settings_in(home).database_path, dict(list(MIGRATIONS.items())[:4]))
        conn.close()
    else:
        finish(home, folder)
    if operation in {"sync", "settle"}:
        for number in range(ENTRIES):
            (folder / f"note-{number}.md").write_text(f"# Note {number}\n\nAnew {number}.\n")
        (folder / "new.md").write_text("New.\n")


class Run:
    """An open product, and the marks that it makes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._marks = os.open(f"{place}.marks", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.settings = settings_in(place / "home")
        self.storage = SqliteStorage(self.settings.database_path)
        self.service = KBService(self.storage, self.settings)
        self.kb = self.service.add_kb(KB, place / "notes")

    def tell(self, verb: str, entry_id: str, mark: str, revision: int | None = None) -> None:
        os.write(self._marks, f"{verb}\t{entry_id}\t{mark}\t{revision or ''}\n".encode())

    def create(self) -> None:
        for new in ("a", "deep/er/b", "c"):
            self.tell("begin", new, "Created.")
            made = self.service.create_entry(KB, Draft("New", id=new, body="Created."))
            self.tell("done", new, "Created.", made.revision)

    def bulk(self) -> None:
        drafts = [Draft("New", id=f"bulk/{n}", body="In bulk.") for n in range(5)]
        for draft in drafts:
            self.tell("begin", str(draft.id), "In bulk.")
        for made in self.service.create_entries(KB, drafts):
            self.tell("done", str(made.id), "In bulk.", made.revision)

    def update(self) -> None:
        for number in (0, 1, 0):
            name, mark = f"note-{number}", "Updated."
            self.tell("begin", name, mark)
            result = self.service.update_entry(KB, name, Edit(body=f"{mark} {'x' * 5000}"))
            self.tell("done", name, mark, result.revision if result.changed else None)

    def delete(self) -> None:
        for number in (0, 1):
            self.tell("begin", f"note-{number}", GONE)
            self.service.delete_entry(KB, f"note-{number}")
            self.tell("done", f"note-{number}", GONE)

    def sync(self) -> None:
        FolderSync(self.storage, self.settings).sync(self.kb)

    def settle(self) -> None:
        self.sync()
        worker = EmbeddingWorker(self.storage, FakeEncoder(), self.settings)
        trio.run(worker.process_queue)

    def migrate(self) -> None:
        self.sync()

    def backup(self) -> None:
        self.tell("begin", "backup", "")
        self.storage.backup(self.place / "copy.db")
        self.tell("done", "backup", "")


OPERATIONS = ("create", "update", "delete", "bulk", "sync", "settle", "migrate", "backup")

if __name__ == "__main__":
    run = Run(Path(sys.argv[2]))
    operation: Callable[[], None] = getattr(run, sys.argv[1])
    operation()
    run.storage.close()

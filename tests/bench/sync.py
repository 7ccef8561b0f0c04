"""Reading folders into the index: all new, and with nothing changed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pyrite.config.settings import Settings
from pyrite.knowledge.service import KBService
from pyrite.storage.records import CLOCK_GRAIN_S
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages
from tests.bench.report import Table


def run(folder: Path, quick: bool) -> Sequence[Table]:
    settings = Settings(home=folder / "home")
    storage = SqliteStorage(settings.database_path)
    service = KBService(storage, settings)
    sync = FolderSync(storage, settings)
    table = Table(
        "index sync, files a second",
        ("", "files", "all new", "nothing changed", "nothing changed, every file read (--full)"),
        "Medians of 5 runs, but for `all new`, which happens once.",
    )
    for name, make in (("real pages", pages), ("small notes", notes)):
        root = folder / name.replace(" ", "-")
        count = make(root, quick)
        kb = service.add_kb(root.name, root)
        # Files that are older than the file system's clock is coarse need not be read twice.
        time.sleep(0 if quick else CLOCK_GRAIN_S + 0.1)
        new = timed(lambda kb=kb: sync.sync(kb))
        unchanged = statistics.median(timed(lambda kb=kb: sync.sync(kb)) for _ in range(5))
        full = statistics.median(timed(lambda kb=kb: sync.sync(kb, full=True)) for _ in range(5))
        table.add(name, count, count / new, count / unchanged, count / full)
    storage.close()
    return [table]


def pages(root: Path, quick: bool) -> int:
    return real_pages(root, 10 if quick else None)


def notes(root: Path, quick: bool) -> int:
    count = 50 if quick else 10_000
    for number in range(count):
        folder = root / f"folder {number % 50}"
        folder.mkdir(parents=True, exist_ok=True)
        text = f"---\ntitle: Note {number}\ntags: [a, b]\n---\n\n{'Some words. ' * 50}\n"
        (folder / f"note {number}.md").write_text(text, encoding="utf-8")
    if not quick:
        os.sync()
    return count


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started

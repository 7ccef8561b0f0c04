"""What a write costs the one who waits for it, idle and while the pipeline is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from pyrite.cli.context import make_encoder
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages
from tests.bench.home import settings_in
from tests.bench.report import Table, percentile

#: Between two writes, so that they meet every phase of the pipeline, in seconds.
PAUSE_S = 0.01


def run(folder: Path, quick: bool) -> Sequence[Table]:
    pages, writes = (2, 10) if quick else (40, 500)
    settings = settings_in(folder / "home")
    storage = SqliteStorage(settings.database_path)
    service = KBService(storage, settings)
    (folder / "written").mkdir()
    service.add_kb("written", folder / "written")
    table = Table(
        "create_entry, milliseconds",
        ("", "p50", "p99", "longest"),
        f"{writes} writes of 1 KB, {PAUSE_S * 1000:.0f} ms apart: the file made durable, the "
        "index row and the queue row committed. Busy: one process embeds real pages meanwhile.",
    )
    add(table, "idle", create(service, "idle", writes))

    real_pages(folder / "pages", pages)
    FolderSync(storage, settings).sync(service.add_kb("pages", folder / "pages"))
    encoder = make_encoder(settings)
    encoder.load()
    worker = EmbeddingWorker(storage, encoder, settings)
    busy = threading.Thread(target=lambda: trio.run(worker.process_queue, "pages"))
    busy.start()
    while not worker.statistics().batches:
        time.sleep(PAUSE_S)
    times = create(service, "busy", writes)
    still = storage.counts("pages").unfinished
    busy.join()
    add(table, "busy" if still or quick else "busy (the pipeline ended before the writes)", times)
    storage.close()
    return [table]


def create(service: KBService, name: str, writes: int) -> list[float]:
    """Milliseconds that each write took."""
    times = []
    for number in range(writes):
        draft = Draft(f"{name} {number}", body="Some words of a note.\n" * 45)
        started = time.perf_counter()
        service.create_entry("written", draft)
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(PAUSE_S)
    return times


def add(table: Table, name: str, times: list[float]) -> None:
    table.add(name, percentile(times, 0.5), percentile(times, 0.99), max(times))

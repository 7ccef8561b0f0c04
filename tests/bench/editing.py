"""What an edit of a long entry costs, beside embedding all of it again, and behind a bulk."""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from actors.messages import Event, Gap, WorkerState
from pyrite.cli.context import make_encoder
from pyrite.embedding.service import EmbeddingService
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.encoders.protocol import TextEncoder
from pyrite.knowledge.service import KBService
from pyrite.markdown.chunks import Splitter
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft, Edit
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages
from tests.bench.home import settings_in
from tests.bench.report import Table, percentile

#: A paragraph of prose in the body, long enough to have a comma put into it.
PARAGRAPH = re.compile(r"(?<=\n\n)[A-Z][^\n|`<>]{60,}(?=\n\n)")

CHUNKS = 90


@dataclass
class Bench:
    """A running worker over one long entry, and what each way of changing it took."""

    folder: Path
    encoder: TextEncoder
    rounds: int

    def __post_init__(self) -> None:
        self.settings = settings_in(self.folder / "home")
        self.storage = SqliteStorage(self.settings.database_path)
        self.worker = EmbeddingWorker(self.storage, self.encoder, self.settings)
        self.service = KBService(self.storage, self.settings, wake=self.worker.wake)
        self.random = random.Random(1)

    async def ended(self, write: Callable[[], int]) -> tuple[float, int]:
        """Seconds from before the write until its `embed_complete`, and chunks encoded for it."""
        before = self.worker.statistics().chunks
        with self.worker.fanout.subscribe() as feed:
            started = time.perf_counter()
            revision = write()
            self.worker.fanout.tell()
            while not any(is_done(event, revision) for event in await feed.take()):
                pass
            took = time.perf_counter() - started
        return took, self.worker.statistics().chunks - before

    def edit(self) -> int:
        """Put a comma into some paragraph."""
        body = self.storage.entry("written", "long").entry.body  # type: ignore[union-attr]
        place = self.random.choice(list(PARAGRAPH.finditer(body)))
        comma = body.index(" ", place.start() + 20)
        edited = Edit(body=body[:comma] + "," + body[comma:])
        return self.service.update_entry("written", "long", edited).revision

    def anew(self) -> int:
        """Queue the entry to be encoded afresh, as what somebody waits for."""
        EmbeddingService(self.storage, self.settings).reembed("written")
        return self.storage.entry("written", "long").revision  # type: ignore[union-attr]


def is_done(event: Event | Gap, revision: int) -> bool:
    """Whether that write of the long entry has been embedded."""
    return (
        isinstance(event, Event)
        and event.type == "embed_complete"
        and (event.entry_id, event.revision) == ("long", revision)
    )


def run(folder: Path, quick: bool) -> Sequence[Table]:
    encoder = make_encoder(settings_in(folder))
    encoder.load()
    rounds, pages = (2, 4) if quick else (12, 60)
    bench = Bench(folder, encoder, rounds)
    (folder / "written").mkdir()
    bench.service.add_kb("written", folder / "written")
    body = long_body(folder / "source", encoder, 4 if quick else CHUNKS)
    table = Table(
        "An edit of a long entry",
        ("", "chunks encoded", "seconds to embed_complete: median", "p90", "times faster"),
        f"A comma put into a random paragraph, {rounds} times, taking turns with embedding the "
        "whole entry again; then the same edit while an import of real pages is being embedded.",
    )

    async def measure() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.worker.run)
            while bench.worker.statistics().state is WorkerState.STARTING:  # noqa: ASYNC110
                await trio.sleep(0.01)  # nothing but the state says that it runs
            draft = Draft("A long entry", id="long", body=body)
            await bench.ended(lambda: bench.service.create_entry("written", draft).revision)
            edits, whole = [], []
            for _ in range(rounds):
                edits.append(await bench.ended(bench.edit))
                whole.append(await bench.ended(bench.anew))
            add(table, "one paragraph, idle", edits, whole)
            add(table, "the whole entry, idle", whole, whole)
            real_pages(folder / "pages", pages)
            kb = bench.service.add_kb("pages", folder / "pages")
            FolderSync(bench.storage, bench.settings).sync(kb)
            bench.worker.wake()
            await behind_bulk(bench, table, whole)
            bench.worker.stop()

    trio.run(measure)
    bench.storage.close()
    return [table]


async def behind_bulk(bench: Bench, table: Table, whole: Sequence[tuple[float, int]]) -> None:
    """The edit again, while many chunks wait that were queued before it."""
    busy = []
    for _ in range(bench.rounds):
        await trio.sleep(0.2)
        took, _ = await bench.ended(bench.edit)
        busy.append((took, 0))
    waiting = bench.storage.counts("pages").unfinished
    name = "one paragraph, behind an import" + ("" if waiting else " (which ended before)")
    add(table, name, busy, whole)


def add(
    table: Table,
    name: str,
    rounds: Sequence[tuple[float, int]],
    whole: Sequence[tuple[float, int]],
) -> None:
    times = [took for took, _ in rounds]
    chunks = max(count for _, count in rounds)
    faster = statistics.median(took for took, _ in whole) / statistics.median(times)
    most = f"at most {chunks}" if chunks else "as above"
    table.add(name, most, statistics.median(times), percentile(times, 0.9), faster)


def long_body(folder: Path, encoder: TextEncoder, chunks: int) -> str:
    """Real pages, one after another, as far as that many chunks."""
    real_pages(folder, 40)
    splitter = Splitter(encoder.tokenizer(), encoder.window)
    body = ""
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8").partition("\n---\n")[2]
        if not PARAGRAPH.search(text):
            continue
        body += "\n\n" + text
        found = splitter.split(Draft("A long entry", body=body))
        if len(found) >= chunks:
            return body[: found[chunks - 1][0].end] + "\n"
    return body

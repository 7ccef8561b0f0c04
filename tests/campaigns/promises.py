"""What was acknowledged, and whether all of it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import trio

from pyrite.config.settings import Settings
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.files import read_file
from pyrite.vault.scan import scan
from pyrite.vault.sync import FolderSync
from tests.fakes.encoder import FakeEncoder, embedding_of, texts_of

KB = "notes"

#: The mark of an entry that is not there.
GONE = ""


def settings_in(home: Path) -> Settings:
    # Each kill costs the claims in flight an attempt; that many kills are not an entry's fault.
    return Settings(home=home, max_attempts=1_000_000, retry_base_s=0.01, poll_interval_s=0.005)


@dataclass
class Ledger:
    """What each entry's text may end in: as it was acknowledged, or was being changed to."""

    may_be: dict[str, set[str]] = field(default_factory=dict)
    #: Revisions that were handed out, with their entries.
    revisions: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, marks: Mapping[str, str]) -> Ledger:
        """One of entries that are there, with what their texts hold."""
        return cls({entry_id: {mark} for entry_id, mark in marks.items()})

    def read(self, lines: Iterable[str]) -> None:
        """Take note of lines, ``begin ID MARK`` or ``done ID MARK REVISION``."""
        for line in lines:
            verb, entry_id, mark, revision = line.split("\t")
            if verb == "begin":
                self.may_be.setdefault(entry_id, {GONE}).add(mark)
            else:
                self.may_be[entry_id] = {mark}
                if revision:
                    self.revisions[int(revision)] = entry_id


def finish(home: Path, folder: Path) -> None:
    """Do what the next process does: sync the folder and embed what is queued."""
    settings = settings_in(home)
    storage = SqliteStorage(settings.database_path)
    kb = KBService(storage, settings).add_kb(KB, folder)
    FolderSync(storage, settings).sync(kb)
    trio.run(EmbeddingWorker(storage, FakeEncoder(concurrency=2), settings).process_queue)
    storage.close()


def broken_promises(home: Path, folder: Path, ledger: Ledger) -> list[str]:
    """What is not as it should be, compared with the folder, the ledger and a fresh encoding."""
    storage = SqliteStorage(settings_in(home).database_path)
    broken = [f"{name}: {what}" for name, what in storage.problems().items()]
    counts = storage.counts()
    if counts.unfinished or counts.failed:
        broken.append(f"not all embedded: {counts}")
    found = {each.id: each.path for each in scan(folder).found}
    indexed = {stored.entry.id: stored.revision for stored in storage.entries()}
    if indexed.keys() != found.keys():
        broken.append(f"index and folder differ in {sorted(indexed.keys() ^ found.keys())}")
    bodies: dict[str, str] = {}
    for entry_id, path in found.items():
        entry = read_file(folder, path, max_bytes=2**24).entry()
        bodies[entry_id] = entry.body
        wanted = [embedding_of(text).tobytes() for text in texts_of(entry)]
        if [blob for _, blob in storage.embeddings(KB, entry_id)] != wanted:
            broken.append(f"{entry_id}: its embedding is not that of its text")
    for entry_id, marks in ledger.may_be.items():
        body = bodies.get(entry_id)
        kept = GONE in marks if body is None else any(m and m in body for m in marks)
        if not kept:
            broken.append(f"{entry_id}: was to have one of {marks}, and is {body!r}")
    broken += _wrong_events(storage, indexed, ledger)
    storage.close()
    return broken


def _wrong_events(storage: SqliteStorage, indexed: dict[str, int], ledger: Ledger) -> list[str]:
    """How the feed is not what was done, each once and in order."""
    events = storage.events(0, 10_000_000)
    broken = [
        f"event {after.seq} follows {before.seq}"
        for before, after in pairwise(events)
        if after.seq != before.seq + 1
    ]
    written: Counter[int] = Counter()
    embedded: Counter[tuple[str, int]] = Counter()
    latest: dict[str, int] = {}
    for event in events:
        if event.type in {"entry_created", "entry_updated"}:
            written[event.revision] += 1
            if event.revision <= latest.get(event.entry_id, 0):
                broken.append(f"{event.entry_id}: revision {event.revision} came too late")
            latest[event.entry_id] = event.revision
        elif event.type == "embed_complete":
            embedded[event.entry_id, event.revision] += 1
            if latest.get(event.entry_id) != event.revision:
                broken.append(f"{event.entry_id}: embedded at another revision than it was at")
    broken += [f"{each}: embedded {n} times" for each, n in embedded.items() if n > 1]
    broken += [f"no event of {e}'s {r}" for r, e in ledger.revisions.items() if written[r] != 1]
    broken += [f"{e}: no event of embedding" for e, r in indexed.items() if not embedded[e, r]]
    return broken

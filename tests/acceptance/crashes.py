"""Kills a worker over and over, at named points and at random, and looks at what is left.

Run as a program, for it forks: Python starts once, and each victim is a fresh process with
connections of its own that is killed with SIGKILL. Every victim edits the folder in its own
way (through Pyrite, or beside it as an editor would), syncs it and drains the queue::

    python -m tests.acceptance.crashes --kills 200 --seed 1 FOLDER

Afterwards one more process is left to finish, and everything is compared with the folder.

With ``--poison`` it is one of the texts that kills, each time that it is encoded.

Prints one JSON object; exits 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from pyrite.config.settings import Settings
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft, Edit
from pyrite.vault.files import read_file
from pyrite.vault.prepared_file import PreparedFile
from pyrite.vault.scan import scan
from pyrite.vault.sync import FolderSync
from tests.fakes.encoder import FakeEncoder, embedding_of, texts_of

KB = "notes"
ENTRIES = 60
#: The longest a victim lives that is killed at random: enough for a whole round.
LONGEST_LIFE_S = 0.25


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Kills this process when it is sprung for the nth time."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def spring(self) -> None:
        self._left -= 1
        if self._left <= 0:
            die()


def wrap(owner: object, name: str, *, before: bool, trap: Trap) -> None:
    """Spring the trap before or after each call of a method."""
    original: Callable[..., object] = getattr(owner, name)

    def wrapped(*args: object, **kwargs: object) -> object:
        if before:
            trap.spring()
        result = original(*args, **kwargs)
        if not before:
            trap.spring()
        return result

    setattr(owner, name, wrapped)


def set_after_claim(trap: Trap) -> None:
    wrap(SqliteStorage, "claim", before=False, trap=trap)


def set_during_encode(trap: Trap) -> None:
    wrap(FakeEncoder, "encode", before=False, trap=trap)


def set_between_file_and_index(trap: Trap) -> None:
    wrap(PreparedFile, "replace", before=False, trap=trap)
    wrap(PreparedFile, "create", before=False, trap=trap)


def set_before_commit(trap: Trap) -> None:
    wrap(Connections, "commit", before=True, trap=trap)


def set_after_commit(trap: Trap) -> None:
    wrap(Connections, "commit", before=False, trap=trap)


#: Each named point, with how often it is passed in a life at most before it kills.
POINTS: dict[str, tuple[Callable[[Trap], None], int]] = {
    "after claim": (set_after_claim, 4),
    "during encode": (set_during_encode, 2),
    "between file and index": (set_between_file_and_index, 2),
    "before commit": (set_before_commit, 10),
    "after commit": (set_after_commit, 10),
}
RANDOM = "at random"


def settings_in(home: Path) -> Settings:
    # Each kill costs the claims in flight an attempt; that many kills are not an entry's fault.
    return Settings(home=home, max_attempts=1_000_000, retry_base_s=0.01, poll_interval_s=0.005)


def edit(chance: random.Random, service: KBService, folder: Path) -> None:
    """Change the folder: half of the time through Pyrite, half beside it."""
    ids = [found.id for found in scan(folder).found]
    for _ in range(chance.randint(1, 6)):
        name = chance.choice(ids)
        path = folder / f"{name}.md"
        text = f"\n\nEdit {chance.random()}."
        match chance.choice(("update", "update", "create", "delete", "write", "rename")):
            case "update":
                read = read_file(folder, f"{name}.md", max_bytes=2**24)
                service.update_entry(KB, name, Edit(body=read.entry().body + text))
            case "create":
                service.create_entry(KB, Draft(f"New {chance.random()}", body=text))
            case "delete" if len(ids) > ENTRIES // 2:
                service.delete_entry(KB, name)
                ids.remove(name)
            case "rename":
                path.rename(folder / f"renamed-{chance.random()}.md")
                ids.remove(name)
            case _:
                path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def live(home: Path, folder: Path, seed: int, *, edits: bool) -> None:
    """A process's whole life: sync what an earlier one left, edit, sync, drain."""
    chance = random.Random(seed)
    settings = settings_in(home)
    storage = SqliteStorage(settings.database_path)
    service = KBService(storage, settings)
    kb = service.add_kb(KB, folder)
    sync = FolderSync(storage, settings)
    sync.sync(kb)
    if edits:
        edit(chance, service, folder)
        sync.sync(kb)
    encoder = FakeEncoder(delay_s=0.001, concurrency=2)
    trio.run(EmbeddingWorker(storage, encoder, settings).process_queue)
    storage.close()


def victim(home: Path, folder: Path, seed: int, point: str) -> int:
    """Fork a process that will be killed at the point, if it gets there; its pid."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            if point != RANDOM:
                set_trap, most = POINTS[point]
                set_trap(Trap(random.Random(seed).randint(1, most)))
            live(home, folder, seed, edits=True)
            code = 0
        finally:
            os._exit(code)
    return pid


def kill_many(home: Path, folder: Path, kills: int, seed: int) -> Counter[str]:
    """Start victims until so many have been killed; how many at each point."""
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    points = [*POINTS, RANDOM, RANDOM]
    while killed.total() < kills:
        point = points[chance.randrange(len(points))]
        pid = victim(home, folder, chance.randrange(2**32), point)
        if point == RANDOM:
            time.sleep(chance.uniform(0, LONGEST_LIFE_S))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            killed[point] += 1
        elif os.WEXITSTATUS(status):
            raise SystemExit(f"a victim of {point!r} failed by itself, not by being killed")
    return killed


def poisoned(home: Path, folder: Path) -> tuple[int, list[str]]:
    """Start workers until one survives a text that kills; the deaths, and what is wrong."""
    (folder / "poison.md").write_text("# Poison\n", encoding="utf-8")
    settings = Settings(home=home)

    def kill_if_poison(texts: Sequence[str]) -> None:
        if any("Poison" in text for text in texts):
            die()

    deaths = 0
    while True:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                storage = SqliteStorage(settings.database_path)
                FolderSync(storage, settings).sync(KBService(storage, settings).add_kb(KB, folder))
                encoder = FakeEncoder(fail=kill_if_poison, concurrency=2)
                trio.run(EmbeddingWorker(storage, encoder, settings).process_queue)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            break
        deaths += 1
    storage = SqliteStorage(settings.database_path)
    failed = [(each.entry_id, each.attempts) for each in storage.failures()]
    wrong = [] if failed == [("poison", settings.max_attempts)] else [f"failed: {failed}"]
    if storage.counts().done != ENTRIES or os.WEXITSTATUS(status):
        wrong.append(f"the others were not all embedded: {storage.counts()}")
    storage.close()
    return deaths, wrong


def broken_promises(home: Path, folder: Path) -> list[str]:
    """What is not as it should be, compared with the folder and a fresh encoding."""
    settings = settings_in(home)
    storage = SqliteStorage(settings.database_path)
    broken = [f"{name}: {what}" for name, what in storage.problems().items()]
    counts = storage.counts()
    if counts.unfinished or counts.failed:
        broken.append(f"not all embedded: {counts}")
    found = {each.id: each.path for each in scan(folder).found}
    indexed = {stored.entry.id for stored in storage.entries()}
    if indexed != set(found):
        broken.append(f"index and folder differ in {sorted(indexed ^ set(found))}")
    for entry_id, path in found.items():
        entry = read_file(folder, path, max_bytes=2**24).entry()
        wanted = [embedding_of(text).tobytes() for text in texts_of(entry)]
        if [blob for _, blob in storage.embeddings(KB, entry_id)] != wanted:
            broken.append(f"{entry_id}: its embedding is not that of its text")
    storage.close()
    return broken


def make_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(ENTRIES):
        text = f"---\ntitle: Note {number}\n---\n\n# Note {number}\n\n{'Words. ' * number}\n"
        (folder / f"note-{number}.md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--poison", action="store_true")
    parser.add_argument("home", type=Path)
    options = parser.parse_args()
    home, folder = options.home / "home", options.home / "notes"
    make_folder(folder)
    if options.poison:
        deaths, broken = poisoned(home, folder)
        print(json.dumps({"deaths": deaths, "broken": broken}, indent=2))
        sys.exit(bool(broken))
    killed = kill_many(home, folder, options.kills, options.seed)
    live(home, folder, 0, edits=False)
    broken = broken_promises(home, folder)
    print(json.dumps({"seed": options.seed, "killed": killed, "broken": broken}, indent=2))
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""The campaign of kills: workers that are killed with SIGKILL, at named points and at random.

Python starts once and forks: each victim is a fresh process with connections of its own. Every
victim syncs the folder, edits it in its own way (through Pyrite, or beside it as an editor
would), syncs it again and drains the queue, and tells of each edit before and after it through
a pipe. After some tens of kills one more process is left to finish, and what was acknowledged, the
folder, the index, the embeddings and the feed are compared.

A kill costs some hundredths of a second, for Python and the product are loaded once.
"""

from __future__ import annotations

import os
import random
import signal
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
from tests.campaigns.campaign import BrokenPromiseError, Campaign
from tests.campaigns.promises import GONE, KB, Ledger, broken_promises, finish, settings_in
from tests.fakes.encoder import FakeEncoder

ENTRIES = 20
#: The longest a victim lives that is killed at random: enough for a whole round.
LONGEST_LIFE_S = 0.2


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


def at_call(name: str) -> Callable[[Trap], None]:
    """A trap before a call of the operating system."""
    return lambda trap: wrap(os, name, before=True, trap=trap)


#: Each named point, with how often it is passed in a life at most before it kills.
POINTS: dict[str, tuple[Callable[[Trap], None], int]] = {
    "after claim": (set_after_claim, 4),
    "during encode": (set_during_encode, 2),
    "between file and index": (set_between_file_and_index, 2),
    "before commit": (set_before_commit, 10),
    "after commit": (set_after_commit, 10),
    "before link": (at_call("link"), 4),
    "before replace": (at_call("replace"), 2),
    "before fsync": (at_call("fsync"), 8),
    "before unlink": (at_call("unlink"), 6),
}
RANDOM = "at random"

#: Told what is done to which entry: verb, entry, mark, and revision where there is one.
Tell = Callable[..., None]


def edit(chance: random.Random, service: KBService, folder: Path, tell: Tell) -> None:
    """Change the folder: half of the time through Pyrite, half beside it."""
    ids = [found.id for found in scan(folder).found]
    for _ in range(chance.randint(1, 6)):
        name, mark = chance.choice(ids), f"Edit {chance.randrange(2**40)}."
        path = folder / f"{name}.md"
        match chance.choice(("update", "update", "create", "bulk", "delete", "write", "rename")):
            case "update":
                read = read_file(folder, f"{name}.md", max_bytes=2**24)
                tell("begin", name, mark)
                changed = Edit(body=f"{read.entry().body}\n\n{mark}")
                tell("done", name, mark, service.update_entry(KB, name, changed).revision)
            case "create":
                new = f"new-{chance.randrange(2**40)}"
                tell("begin", new, mark)
                result = service.create_entry(KB, Draft("New", id=new, body=mark))
                tell("done", new, mark, result.revision)
            case "bulk":
                drafts = [Draft("Bulk", id=f"bulk-{chance.randrange(2**40)}", body=mark)]
                drafts.append(Draft("Bulk", id=f"bulk-{chance.randrange(2**40)}", body=mark))
                for draft in drafts:
                    tell("begin", str(draft.id), mark)
                for made in service.create_entries(KB, drafts):
                    tell("done", str(made.id), mark, made.revision)
            case "delete" if len(ids) > ENTRIES // 2:
                tell("begin", name, GONE)
                service.delete_entry(KB, name)
                tell("done", name, GONE)
                ids.remove(name)
            case "rename":
                new = f"renamed-{chance.randrange(2**40)}"
                body = path.read_text(encoding="utf-8")
                tell("begin", name, GONE)
                tell("begin", name, mark)
                tell("begin", new, mark)
                save(path, f"{body}\n\n{mark}")
                path.rename(folder / f"{new}.md")
                tell("done", name, GONE)
                tell("done", new, mark)
                ids.remove(name)
            case _:
                tell("begin", name, mark)
                save(path, f"{path.read_text(encoding='utf-8')}\n\n{mark}")
                tell("done", name, mark)


def save(path: Path, text: str) -> None:
    """Replace a file in one step, as an editor does that loses nothing itself."""
    draft = path.parent.with_name("draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(path)


def live(home: Path, folder: Path, seed: int, tell: Tell) -> None:
    """A process's whole life: sync what an earlier one left, edit, sync, drain."""
    chance = random.Random(seed)
    settings = settings_in(home)
    storage = SqliteStorage(settings.database_path)
    service = KBService(storage, settings)
    kb = service.add_kb(KB, folder)
    sync = FolderSync(storage, settings)
    sync.sync(kb)
    edit(chance, service, folder, tell)
    sync.sync(kb)
    encoder = FakeEncoder(delay_s=0.001, concurrency=2)
    trio.run(EmbeddingWorker(storage, encoder, settings).process_queue)
    storage.close()


def forked(task: Callable[[], None]) -> int:
    """Fork a process that does a task and exits with 0 if it did; its pid."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            task()
            code = 0
        finally:
            os._exit(code)
    return pid


def kill_one(home: Path, folder: Path, chance: random.Random, ledger: Ledger) -> str | None:
    """Start a victim; the point at which it was killed, or None if it lived to its end."""
    point = chance.choice([*POINTS, RANDOM, RANDOM])
    seed = chance.randrange(2**32)
    reader, writer = os.pipe()

    def tell(verb: str, entry_id: str, mark: str, revision: int | None = None) -> None:
        # One write to a pipe is whole, whenever the process dies.
        os.write(writer, f"{verb}\t{entry_id}\t{mark}\t{revision or ''}\n".encode())

    def task() -> None:
        if point != RANDOM:
            set_trap, most = POINTS[point]
            set_trap(Trap(random.Random(seed).randint(1, most)))
        live(home, folder, seed, tell)

    pid = forked(task)
    os.close(writer)
    if point == RANDOM:
        time.sleep(chance.uniform(0, LONGEST_LIFE_S))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader, encoding="utf-8") as told:
        ledger.read(line.rstrip("\n") for line in told)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise BrokenPromiseError(f"a victim of {point!r} failed by itself, not by being killed")
    return point if os.WIFSIGNALED(status) else None


def kill_many(seed: int, place: Path, kills: int) -> Counter[str]:
    """Kill so many on one folder, and look at what is left; how many at each point."""
    home, folder = place / "home", place / "notes"
    make_folder(folder)
    ledger = Ledger.of({f"note-{number}": f"# Note {number}" for number in range(ENTRIES)})
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        point = kill_one(home, folder, chance, ledger)
        if point is not None:
            killed[point] += 1
    finish(home, folder)
    if broken := broken_promises(home, folder, ledger):
        raise BrokenPromiseError("\n".join(broken))
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


def make_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(ENTRIES):
        text = f"---\ntitle: Note {number}\n---\n\n# Note {number}\n\n{'Words. ' * number}\n"
        (folder / f"note-{number}.md").write_text(text, encoding="utf-8")


CAMPAIGN = Campaign("kills", kill_many, "kills", per_round=40, full=10_000)

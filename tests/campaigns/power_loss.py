"""The campaign of power loss: the product opened on disks as they may look afterwards.

Real runs are recorded by strace, with all data. At each call that changes the disk the power may
fail, and each time the disk is rebuilt in several ways (:mod:`tests.campaigns.disk`). What had
been acknowledged by then must be there once the next process has synced and embedded, and a
backup that has its name must be sound.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pyrite.storage.sqlite.driver import sqlite3
from tests.campaigns import disk, recorded
from tests.campaigns.campaign import BrokenPromiseError, Campaign
from tests.campaigns.promises import Ledger, broken_promises, finish

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")

#: How much of what is not safe on the disk is left, of each state.
PARTS = (0.0, 0.5, 0.9, 1.0)


@cache
def place() -> Path:
    """Where the runs are recorded and the disks rebuilt: the index names its folders."""
    made = TemporaryDirectory(prefix="power-loss-", ignore_cleanup_errors=True)
    _kept.append(made)
    return Path(made.name).resolve() / "disk"


_kept: list[TemporaryDirectory[str]] = []


@cache
def recording(operation: str) -> tuple[disk.Disk, tuple[disk.Call, ...]]:
    """The disk before an operation, and the calls of its run."""
    root = place()
    shutil.rmtree(root, ignore_errors=True)
    recorded.make(root, operation)
    for index in root.rglob("*-shm"):
        index.unlink()
    before, log, marks = disk.Disk(root), root.with_name("log"), Path(f"{root}.marks")
    marks.unlink(missing_ok=True)
    tracer = (str(STRACE), "-f", "--seccomp-bpf", "-xx", "-y", "-s", "16777216")
    subprocess.run(
        [
            *(*tracer, "-o", log, "-e", f"trace={disk.CALLS}", "-e", "signal=none"),
            *(sys.executable, "-m", "tests.campaigns.recorded", operation, root),
        ],
        cwd=ROOT,
        check=True,
    )
    kept = (call for call in disk.calls(log) if str(root).encode() in b" ".join(_all(call)))
    return before, tuple(kept)


def _all(call: disk.Call) -> tuple[bytes, ...]:
    return (*call.args, call.result)


def states(operation: str, chance: random.Random) -> Iterator[tuple[disk.Disk, list[str]]]:
    """The disk after each call that changed it, and what had been told by then."""
    # Of the recorded disk a copy is changed; its files are changed in place.
    before, calls = recording(operation)
    now = disk.Disk.__new__(disk.Disk)
    now.__dict__.update(before.__dict__)
    now.names = {
        path: None if file is None else disk.File(file.safe, bytearray(file.now))
        for path, file in before.names.items()
    }
    now.safe_names, now.pending, now._offsets = dict(now.names), [], {}
    told: list[str] = []
    for call in calls:
        if call.name == "write" and f"{now.root}.marks".encode() in call.args[0]:
            told += call.args[1].decode().splitlines()
            yield now, told
        elif now.apply(call):
            yield now, told


def wrong_after(operation: str, content: dict[str, bytes | None], told: list[str]) -> list[str]:
    """What is wrong once the product has been opened on a disk; in a process of its own."""
    root = place()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    disk.build(content)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                found = _wrong(operation, root, told)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
                found = [repr(error)]
            os.write(writer, "\n".join(found).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text.splitlines()


def _wrong(operation: str, root: Path, told: list[str]) -> list[str]:
    backups = [line for line in told if line.split("\t")[1] == "backup"]
    ledger = Ledger.of(dict.fromkeys(recorded.present(operation), recorded.MARK))
    ledger.read(line for line in told if line not in backups)
    copy = root / "copy.db"
    wrong = []
    if copy.exists():
        conn = sqlite3.connect(copy)
        if conn.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            wrong.append("the backup is not sound")
        if conn.execute("SELECT count(*) FROM entries").fetchone() != (recorded.ENTRIES,):
            wrong.append("the backup is not whole")
        conn.close()
    elif any(line.startswith("done") for line in backups):
        wrong.append("the backup is gone")
    finish(root / "home", root / "notes")
    return wrong + broken_promises(root / "home", root / "notes", ledger)


def lose_power(seed: int, _: Path, most: int) -> Counter[str]:
    """Open the product on so many disks; how many of each operation."""
    if STRACE is None:
        raise SystemExit("this campaign needs strace, which is not installed")
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    operation = recorded.OPERATIONS[seed % len(recorded.OPERATIONS)]
    moments = sum(1 for _ in states(operation, chance))
    chosen = Counter(chance.choices(range(moments), k=most))
    for number, (now, told) in enumerate(states(operation, chance)):
        for _ in range(chosen[number]):
            part = chance.choice(PARTS)
            content = now.after_loss(chance, part)
            if wrong := wrong_after(operation, content, told):
                raise BrokenPromiseError(
                    f"{operation}, power lost after call {number} of {moments}, "
                    f"{part:.0%} of what was not synced left; told: {told[-2:]}\n"
                    + "\n".join(wrong)
                )
            tried[operation] += 1
    return tried


CAMPAIGN = Campaign("power-loss", lose_power, "states", per_round=25, full=1_600)

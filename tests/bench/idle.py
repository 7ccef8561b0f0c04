"""A server to which nothing happens: what it costs, and how soon it tells of what then does.

The server is a process of its own, with one client of its feed; the other process that writes is
this one.
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pyrite.config.settings import Settings
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from tests.bench.feed import HANDSHAKE
from tests.bench.report import Table, percentile

#: Between two writes, in seconds: no multiple of the time between two looks of the server.
PAUSE_S = 0.137


def run(folder: Path, quick: bool) -> Sequence[Table]:
    cost = Table(
        "A server to which nothing happens, with one client of its feed",
        ("seconds", "percent of a core", "times a second that it wakes"),
    )
    soon = Table(
        "From a write until the client knows of it, milliseconds",
        ("who writes", "p50", "p99", "most"),
        "From the time that the entry carries, which is from before its file is written and the "
        "transaction committed, to the arrival of `entry_created`. The server embeds meanwhile.",
    )
    settings = Settings(home=folder / "home")
    storage = SqliteStorage(settings.database_path)
    kbs = KBService(storage, settings)
    (folder / "notes").mkdir()
    kbs.add_kb("notes", folder / "notes")
    seconds, writes = (0.5, 3) if quick else (20, 60)
    with serving(settings.home) as (pid, url), following(url) as feed:
        time.sleep(0.1 if quick else 5)  # what it does at its start
        cost.add(seconds, *idle(pid, seconds))
        with httpx.Client(base_url=url) as client:
            add(soon, "the server, over HTTP", [by_itself(client, feed, n) for n in range(writes)])
        add(soon, "another process", [by_another(kbs, feed, n) for n in range(writes)])
    storage.close()
    return [cost, soon]


@contextmanager
def serving(home: Path) -> Iterator[tuple[int, str]]:
    """A server over that home: its process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pyrite", "serve", "--port", "0"],
        env=os.environ | {"PYRITE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        while not (found := re.search(r"listens on (http://\S+)", line := readline(process))):
            print(line, end="", file=sys.stderr)
        yield process.pid, found[1]
    finally:
        process.terminate()
        process.wait()


def readline(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the server has ended")
    return line


@contextmanager
def following(url: str) -> Iterator[Feed]:
    """A client of the server's feed."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0)) as connection:
        connection.sendall(HANDSHAKE.encode())
        feed = Feed(connection)
        feed.until(b'"hello"')
        yield feed


class Feed:
    """What the client is sent, without telling messages apart."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""

    def until(self, text: bytes) -> None:
        """Return once that was heard."""
        while text not in self._heard:
            self._heard += self._connection.recv(65536)
        self._heard = self._heard.partition(text)[2]

    def took(self, entry_id: str) -> float:
        """Milliseconds from the write of an entry until its event, which is the next, is heard."""
        self.until(b'"type":"entry_created"')
        self.until(f'"id":"{entry_id}"'.encode())
        arrived = time.time()
        self.until(b'"at":')
        while b"}" not in self._heard:
            self._heard += self._connection.recv(65536)
        return 1000 * (arrived - float(self._heard.partition(b"}")[0]))


def idle(pid: int, seconds: float) -> tuple[float, float]:
    """Percent of a core that a process uses, and how often a second its threads wake."""
    used, woken, begun = cpu_s(pid), switches(pid), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    return 100 * (cpu_s(pid) - used) / took, (switches(pid) - woken) / took


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(pid: int) -> int:
    """How often all its threads that live have waited for something."""
    return sum(
        int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", path.read_text(), re.MULTILINE)[0])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
    )


def by_itself(client: httpx.Client, feed: Feed, number: int) -> float:
    body = {"title": f"http {number}", "body": "text"}
    client.post("/api/kbs/notes/entries", json=body).raise_for_status()
    took = feed.took(f"http-{number}")
    time.sleep(PAUSE_S)
    return took


def by_another(kbs: KBService, feed: Feed, number: int) -> float:
    kbs.create_entry("notes", Draft(f"other {number}", body="text"))
    took = feed.took(f"other-{number}")
    time.sleep(PAUSE_S)
    return took


def add(table: Table, who: str, times: Sequence[float]) -> None:
    table.add(who, statistics.median(times), percentile(times, 0.99), max(times))

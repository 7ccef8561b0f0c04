"""What the server answers in, and how soon a client learns that its entry can be found.

Each server is a process of its own, as a person starts it: ``pyrite serve`` with the real model.
The clients are threads of this process with one connection each, kept open. Three kinds of server
take turns, since a machine's speed changes from minute to minute: one that embeds nothing, one
that has nothing else to embed, and one that has a long import to embed meanwhile.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from trio_websocket import open_websocket_url

from pyrite.cli.context import make_encoder
from pyrite.config.settings import Settings
from tests.acceptance.pages import real_pages
from tests.bench.home import settings_in
from tests.bench.report import Table, percentile

#: Entries of the import that is embedded meanwhile.
IMPORT = 1_000

CLIENTS = (1, 8, 32)

#: The settings of each server, and whether an import is queued before it is measured.
WAYS: dict[str, tuple[Mapping[str, str], bool]] = {
    "embedding off": ({"PYRITE_PAUSED": "true"}, False),
    "queue idle": ({}, False),
    "during an import": ({}, True),
}

BODY = "A short note, of the length that people jot down while something else is going on."


@dataclass
class Seen:
    """What was measured of one kind of server."""

    #: Milliseconds of each answered POST, by the number of clients.
    took: dict[int, list[float]] = field(default_factory=dict)
    #: Seconds in which the POSTs were answered.
    lasted: dict[int, float] = field(default_factory=dict)
    #: Seconds from a POST to its embed_complete.
    waits: list[float] = field(default_factory=list)
    #: Entries that still waited when all was measured, the fewest of any round.
    left: int = sys.maxsize


@dataclass
class Server:
    """A server over a database of its own."""

    port: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def post(self, clients: int, each: int, seen: Seen) -> None:
        """Have so many clients create so many entries each, at the same time."""
        took: list[float] = []
        ready = threading.Barrier(clients + 1)

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.connect()
            ready.wait()
            for _ in range(each):
                began = time.perf_counter()
                self.create(connection)
                took.append((time.perf_counter() - began) * 1000)
            connection.close()

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        ready.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        seen.lasted[clients] = seen.lasted.get(clients, 0) + time.perf_counter() - began
        seen.took.setdefault(clients, []).extend(took)

    def create(self, connection: http.client.HTTPConnection) -> int:
        """Create an entry; returns its revision."""
        body = json.dumps({"title": f"Note {next(self.numbers)}", "body": BODY})
        connection.request(
            "POST", "/api/kbs/written/entries", body, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.CREATED:
            raise RuntimeError(f"{answer.status}: {content.decode()}")
        revision: int = json.loads(content)["revision"]
        return revision

    def status(self, kb: str = "") -> dict[str, int]:
        """How many entries stand where, of one knowledge base or of all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", f"/api/index/embed-status{f'?kb={kb}' if kb else ''}")
        status: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return status

    def unfinished(self, kb: str = "") -> int:
        status = self.status(kb)
        return status["pending"] + status["processing"]

    def wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            time.sleep(0.1)


@contextmanager
def serving(folder: Path, given: Mapping[str, str], pages: Path | None) -> Iterator[Server]:
    """A server, ready; on leaving, it has ended well."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYRITE_")}
    environment |= {
        "PYRITE_HOME": str(folder / "home"),
        "PYRITE_CACHE": str(settings_in(folder).cache_path),
        # The clients are one, and in a hurry.
        "PYRITE_RATE_LIMIT": "0",
        "PYRITE_LOG_LEVEL": "warning",
        **given,
    }
    pyrite = [sys.executable, "-m", "pyrite"]
    (folder / "written").mkdir(parents=True)
    for name, path in {"written": folder / "written", "pages": pages}.items():
        if path is not None:
            subprocess.run(
                [*pyrite, "kb", "add", name, str(path)],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*pyrite, "serve", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError((folder / "server.log").read_text())
        yield Server(int(line.rstrip().rstrip("/").rpartition(":")[2]))
    finally:
        process.terminate()
        code = process.wait(timeout=60)
    if code:
        raise RuntimeError(f"the server ended with {code}: {(folder / 'server.log').read_text()}")


def run(folder: Path, quick: bool) -> Sequence[Table]:
    rounds, each, follows = (1, 4, 2) if quick else (2, 60, 45)
    clients = CLIENTS[: 1 if quick else None]
    real_pages(folder / "pages", 2 if quick else IMPORT)
    encodes: list[float] = []
    ways = dict(list(WAYS.items())[: 2 if quick else None])
    seen = {way: Seen() for way in ways}
    for number in range(rounds):
        encodes += encode_times(settings_in(folder), follows)
        for turn, (way, (given, imports)) in enumerate(ways.items()):
            pages = folder / "pages" if imports else None
            with serving(folder / f"{number}-{turn}", given, pages) as server:
                measure(server, seen[way], way, clients, each, follows)
    return [posts(seen, clients, each * rounds), notices(seen, encodes)]


def measure(
    server: Server, seen: Seen, way: str, clients: Sequence[int], each: int, follows: int
) -> None:
    """Have a server answer every number of clients, and follow some writes."""
    if way == "during an import":
        server.wait(lambda: server.status()["done"] > 0)
    for count in clients:
        server.post(count, each, seen)
        if way == "queue idle":
            server.wait(lambda: not server.unfinished())
    if way != "embedding off":
        # What was posted before is as urgent, and older: it would go first.
        server.wait(lambda: not server.unfinished("written"))
        seen.waits += trio.run(follow, server, follows)
    seen.left = min(seen.left, server.unfinished())


async def follow(server: Server, times: int) -> list[float]:
    """Write, and wait to be told that it can be found, so often; seconds for each."""
    took: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    url = f"ws://127.0.0.1:{server.port}/ws?kb=written&type=embed_complete"
    async with open_websocket_url(url) as feed:
        await feed.get_message()
        for _ in range(times):
            began = time.perf_counter()
            # In a thread, so that the feed is read meanwhile; the same one for every call.
            revision = await trio.to_thread.run_sync(server.create, connection)
            while json.loads(await feed.get_message()).get("revision") != revision:
                pass
            took.append(time.perf_counter() - began)
    return took


def encode_times(settings: Settings, times: int) -> list[float]:
    """Seconds in which this process encodes such an entry, alone and with nothing else to do."""
    encoder = make_encoder(settings)
    encoder.load()
    took = []
    for number in range(times):
        began = time.perf_counter()
        encoder.encode([f"Note {number}\n\n{BODY}"])
        took.append(time.perf_counter() - began)
    return took


def posts(seen: Mapping[str, Seen], clients: Sequence[int], each: int) -> Table:
    off = seen["embedding off"]
    table = Table(
        "Creating entries through the server",
        ("", "clients", "p50, ms", "p99, ms", "entries/s", "p50 to embedding off", "p99"),
        f"Each client creates {each:,} entries over a connection that stays open. Of the import of "
        f"{IMPORT:,} pages and what was written besides, {list(seen.values())[-1].left:,} entries "
        "or more were still to be embedded at the end.",
    )
    for count in clients:
        for way, of_way in seen.items():
            took = of_way.took[count]
            table.add(
                *(way, count, percentile(took, 0.5), percentile(took, 0.99)),
                len(took) / of_way.lasted[count],
                *(percentile(took, p) / percentile(off.took[count], p) for p in (0.5, 0.99)),
            )
    return table


def notices(seen: Mapping[str, Seen], encodes: Sequence[float]) -> Table:
    table = Table(
        "From the request that creates an entry to its embed_complete at a client, in ms",
        ("", "p50", "p99", "longest"),
        f"One entry after the other, {len(encodes):,} of them; the first line is what the encoder "
        "alone takes for such a text, in a process that does nothing else.",
    )
    waits = {way: of_way.waits for way, of_way in seen.items() if of_way.waits}
    for way, seconds in {"one encode": encodes, **waits}.items():
        took = [each * 1000 for each in seconds]
        table.add(way, percentile(took, 0.5), percentile(took, 0.99), max(took))
    return table

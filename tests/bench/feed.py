"""The live feed with many clients: how soon they know, how much goes out, what it costs.

The server is this process; the clients are another, which is started as
``python -m tests.bench.feed HOST PORT CLIENTS`` and told on its standard input how many
messages to wait for.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from actors.fanout import WATCH_S
from pyrite.server.feed import websocket_writer
from tests.bench.report import Table, percentile
from tests.fakes.node import FakeNode
from tests.integration.live import Server, serving

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

#: Between two events that come alone, in seconds.
PAUSE_S = 0.1


def run(folder: Path, quick: bool) -> Sequence[Table]:
    soon = Table(
        "One event at a time, milliseconds from the commit until the last client has it",
        ("clients", "p50", "p99"),
    )
    burst = Table(
        "Many events in one commit",
        ("clients", "events", "sent", "messages delivered a second", "seconds to the last"),
        "Each message is about 130 bytes. Together: what waits for a client goes out in one "
        "write. Singly: through the server's own interface, one write for each message.",
    )
    cost = Table(
        "What connected clients cost the server",
        ("clients", "KB each", "percent of a core while nothing happens"),
    )
    for clients in (5,) if quick else (100, 1000):
        for together in (True, False):
            node = FakeNode(folder / f"{clients}-{together}", poll_interval_s=WATCH_S)
            with singly(not together):
                trio.run(measure, node, clients, together, quick, soon, burst, cost)
            node.close()
    return [soon, burst, cost]


@contextmanager
def singly(wanted: bool) -> Iterator[None]:
    """Have every message sent for itself, if that is wanted."""
    known = websocket_writer.WSStream
    if wanted:
        websocket_writer.WSStream = type(None)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        websocket_writer.WSStream = known  # type: ignore[misc]


@dataclass
class Clients:
    """The other process."""

    process: trio.Process
    number: int

    async def expect(self, messages: int) -> None:
        """Have each wait for so many more."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{messages}\n".encode())

    async def said(self) -> float:
        """When the last of them had what they were to wait for."""
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await self.process.stdout.receive_some()
        return float(line)


async def measure(
    node: FakeNode, number: int, together: bool, quick: bool, soon: Table, burst: Table, cost: Table
) -> None:
    async with serving(node, limit_s=600) as server, trio.open_nursery() as nursery:
        before_kb = resident_kb()
        host, _, port = server.url.removeprefix("ws://").rpartition(":")
        command = [sys.executable, "-m", "tests.bench.feed", host, port, str(number)]
        process = await nursery.start(
            lambda task_status: trio.run_process(  # noqa: ASYNC105 - start awaits it
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                check=False,
                task_status=task_status,
            )
        )
        clients = Clients(process, number)
        await clients.said()
        if together:
            used, at = cpu_s(), time.monotonic()
            await trio.sleep(0.2 if quick else 5)
            share = 100 * (cpu_s() - used) / (time.monotonic() - at)
            cost.add(number, (resident_kb() - before_kb) / number, share)
            times = await singles(server, clients, 3 if quick else 30)
            soon.add(number, percentile(times, 0.5), percentile(times, 0.99))
        events = 20 if quick else 1000 if together else 100
        took = await deliver(server, clients, events)
        how = "together" if together else "singly"
        burst.add(number, events, how, number * events / took, took)
        nursery.cancel_scope.cancel()


async def singles(server: Server, clients: Clients, number: int) -> list[float]:
    """Milliseconds that each event took."""
    times = []
    for _ in range(number):
        times.append(await deliver(server, clients, 1) * 1000)
        await trio.sleep(PAUSE_S)
    return times


async def deliver(server: Server, clients: Clients, events: int) -> float:
    """Seconds from the commit until the last client has the last event."""
    await clients.expect(events)
    await server.node.run_sync(server.commit, events)
    committed = time.time()
    server.node.feed.tell()
    return await clients.said() - committed


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


class Reader:
    """Counts the messages of one client as they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.messages = 0
        self._left = b""

    async def handshake(self) -> None:
        await self.stream.send_all(HANDSHAKE.encode())
        while b"\r\n\r\n" not in self._left:
            self._left += await self.stream.receive_some()
        self._left = self._left.partition(b"\r\n\r\n")[2]
        await self.reach(1)

    async def reach(self, messages: int) -> None:
        """Read until there have been so many; pings are not counted."""
        while True:
            data, at = self._left, 0
            while len(data) - at >= 4:
                short = data[at + 1]
                begin = 2 if short < 126 else 4
                end = at + begin + (short if short < 126 else int.from_bytes(data[at + 2 : at + 4]))
                if end > len(data):
                    break
                self.messages += data[at] & 15 == 1
                at = end
            self._left = data[at:]
            if self.messages >= messages:
                return
            self._left += await self.stream.receive_some(65536)


async def be_clients(host: str, port: int, number: int) -> None:
    readers = [Reader(await trio.open_tcp_stream(host, port)) for _ in range(number)]
    for reader in readers:
        await reader.handshake()
    expected = 1
    print(time.time(), flush=True)
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        expected += int(line)
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(reader.reach, expected)
        print(time.time(), flush=True)


if __name__ == "__main__":
    trio.run(be_clients, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""A process to serve from in tests: the real services over SQLite, and fakes of what is live.

Nothing embeds unless a test calls :meth:`FakeNode.embed`, and nothing is watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import trio

from actors.fanout import KEPT, Fanout
from pyrite.config.settings import Settings
from pyrite.errors import PyriteError
from pyrite.search.freshness import Waited
from pyrite.search.waiting import wait_embedded
from pyrite.server.feed.messages import rendered
from pyrite.server.jobs import Jobs
from pyrite.server.metrics import Metrics
from pyrite.services.services import Services
from pyrite.services.threads import Threads
from tests.fakes.encoder import FakeEncoder

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class FakeNode:
    """The contract of a ServerProcess, over a folder of its own."""

    leads = False

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        # Commits are noticed soon, for tests to take less time.
        often = {"poll_interval_s": 0.01}
        self.settings = Settings(home=self.home, model="fake", **often | settings)
        self.environ = dict(environ or {})
        self.clock = clock
        self.encoder = FakeEncoder()
        self.services = Services(self.environ, self.settings, encoder=self.encoder, clock=clock)
        self.services.on_write(self.wrote)
        self.storage = self.services.storage
        self.kbs = self.services.kbs
        self.embedding = self.services.embedding
        self.sync = self.services.sync
        self.search = self.services.search
        self.tokens = self.services.tokens
        self.feed = Fanout(
            *(self.storage, self.run_sync, rendered),
            replay=KEPT,
            watch_s=self.settings.poll_interval_s,
        )
        self.metrics = Metrics()
        self.closing = trio.Event()
        self.writes = 0
        self._threads = Threads()
        self.run_search = self._threads.run_search
        self.jobs = Jobs(
            self.storage, self.kbs, self.sync, self.run_sync, clock=clock, wrote=self.wrote
        )

    async def run_sync(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await self._threads.run_sync(function, *args)

    async def wait(self, revision: int, timeout_s: float) -> Waited:
        look = partial(self.run_sync, self.search.revision_status, revision)
        return await wait_embedded(self.feed, look, revision, timeout_s)

    def wrote(self) -> None:
        self.writes += 1

    def worker_state(self) -> None:
        return None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.feed.run)
            await nursery.start(self.jobs.run)
            task_status.started()

    def stop(self) -> None:
        self.closing.set()

    def close(self) -> None:
        """Release the database."""
        self.services.close()

    def add_kb(self, name: str = "notes") -> Path:
        """A knowledge base with a folder of its own."""
        folder = self.home.parent / name
        folder.mkdir(exist_ok=True)
        self.kbs.add_kb(name, folder)
        return folder

    def embed(self) -> None:
        """Embed whatever is queued."""
        for stored in self.kbs.list_entries():
            with suppress(PyriteError):
                self.embedding.embed_entry(self.encoder, stored.kb, stored.entry.id)

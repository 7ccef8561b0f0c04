"""A node to serve from in tests: the real services over SQLite, and fakes of what is live.

Nothing embeds unless a test calls :meth:`FakeNode.embed`, and nothing is watched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import trio

from actors.fanout import KEPT, Fanout
from pyrite.auth.tokens import TokenService
from pyrite.config.settings import Settings
from pyrite.embedding.service import EmbeddingService
from pyrite.errors import PyriteError
from pyrite.knowledge.service import KBService
from pyrite.search.service import SearchService
from pyrite.server.feed.messages import rendered
from pyrite.server.jobs import Jobs
from pyrite.server.metrics import Metrics
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.sync import FolderSync
from tests.fakes.encoder import FakeEncoder

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class FakeNode:
    """The Node's contract, over a folder of its own."""

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
        self.storage = SqliteStorage(self.settings.database_path)
        self.encoder = FakeEncoder()
        self.kbs = KBService(self.storage, self.settings, clock=clock, wake=self.wrote)
        self.embedding = EmbeddingService(self.storage, self.settings, clock)
        self.sync = FolderSync(self.storage, self.settings, clock)
        self.search = SearchService(self.storage, self.encoder, self.settings, clock)
        self.tokens = TokenService(self.storage, clock)
        self.feed = Fanout(
            *(self.storage, self.run_sync, rendered),
            replay=KEPT,
            watch_s=self.settings.poll_interval_s,
        )
        self.metrics = Metrics()
        self.closing = trio.Event()
        self.writes = 0
        self._limiter = trio.CapacityLimiter(40)
        self._searching = trio.CapacityLimiter(1)
        self.jobs = Jobs(
            self.storage, self.kbs, self.sync, self.run_sync, clock=clock, wrote=self.wrote
        )

    async def run_sync(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def run_search(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._searching)

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
        self.storage.close()

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

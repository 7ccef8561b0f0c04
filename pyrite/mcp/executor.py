"""The tools' calls of the services, each in a thread; what a service refuses becomes advice.

Calls of the search service come one at a time, for it keeps state between them; so do calls that
embed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import trio
from mcp.server.mcpserver.exceptions import ToolError

from actors.messages import WorkerState
from pyrite.config.live import LiveSettings
from pyrite.config.redaction import without_paths
from pyrite.config.settings import Settings
from pyrite.embedding.fallback import Fallback, WriteOutcome
from pyrite.errors import ConflictError, FolderMissingError, NotFoundError, PyriteError
from pyrite.knowledge.near_ids import near_ids
from pyrite.mcp import advice
from pyrite.search.freshness import Waited
from pyrite.search.waiting import wait_alone
from pyrite.services.services import Services
from pyrite.services.threads import Threads
from pyrite.storage.records import Key
from pyrite.storage.sqlite.driver import sqlite3

T = TypeVar("T")

#: Waits for a write of a revision until it can be found by meaning, or for so many seconds.
Wait = Callable[[int, float], Awaitable[Waited]]

#: However short the rest, the model is given back no more often than this, in seconds.
_SHORTEST_REST_S = 1.0

_STOPPING = "the server is stopping"


class StoppingError(PyriteError):
    """The server was told to stop while it embedded."""


class NotThereError(ToolError):
    """There is no such knowledge base or entry."""


@dataclass(frozen=True, slots=True)
class About:
    """Which entry a call is about, for the error that names others."""

    kb: str
    id: str


class ToolExecutor:
    """Runs what the tools, resources and prompts of one or several MCP servers ask for."""

    def __init__(
        self,
        services: Services,
        threads: Threads | None = None,
        *,
        wait: Wait | None = None,
        has_worker: bool = False,
        local: bool = True,
    ) -> None:
        """Make the services, if they are not made yet; no model is loaded.

        Args:
            services: those of the process.
            threads: where its blocking calls run, those of others among them.
            wait: waits for a write by the process's feed; without one, by a feed of its own.
            has_worker: whether this process serves, and so leaves embedding to workers.
            local: whether those who call sit at this computer, and may be told its paths.
        """
        self.services = services
        self.storage = services.storage
        self.environ = services.environ
        self.local = local
        # Made here, and not by two threads at once.
        self.kbs = services.kbs
        self.embedding = services.embedding
        self.sync = services.sync
        self.search = services.search
        self._threads = threads or Threads()
        self._wait = wait or self._wait_alone
        self._has_worker = has_worker
        # Followed as the file changes: a pause comes and goes.
        self._live = LiveSettings(services.settings, services.environ)
        self._fallback = Fallback(
            self.storage,
            lambda: services.encoder,
            self.embedding,
            lambda: self.settings,
            services.clock,
        )
        self._embedding = trio.Lock()
        self._calls = 0
        self._stopping = False
        self._quiet = trio.Event()
        self._used = -math.inf

    @property
    def settings(self) -> Settings:
        """Those in force now."""
        return self._live.read() if self._live.has_changed() else self._live.settings

    def redacted(self, text: str) -> str:
        """The text without paths, unless the caller may see them."""
        return text if self.local else without_paths(text)

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of a tool, which a stop waits for.

        Raises:
            ToolError: the server is stopping already.
        """
        if self._stopping:
            raise ToolError(f"{_STOPPING}; nothing was done")
        self._calls += 1
        try:
            yield
        finally:
            self._ended()

    def _ended(self) -> None:
        """Note the end of a call, and whether it was the last before a stop."""
        self._calls -= 1
        if self._stopping and not self._calls:
            self._quiet.set()

    async def run_sync(self, function: Callable[[], T], about: About | None = None) -> T:
        """Run a blocking call in a thread, to its end, whatever is cancelled meanwhile.

        Raises:
            ToolError: a service refused it.
            NotThereError: there is no such knowledge base or entry.
        """
        return await self._threads.run_sync(self._called, function, about)

    async def run_search(self, function: Callable[[], T], about: About | None = None) -> T:
        """The same for what uses the search service: one at a time."""
        self._used = trio.current_time()
        return await self._threads.run_search(self._called, function, about)

    async def wait(self, revision: int, timeout_s: float) -> Waited:
        """Wait until a write can be found by meaning; holds up no search, and keeps no thread.

        Raises:
            NotThereError: there has been no such write.
        """
        try:
            return await self._wait(revision, timeout_s)
        except (PyriteError, sqlite3.OperationalError) as error:
            raise self._refusal(error) from error

    async def _wait_alone(self, revision: int, timeout_s: float) -> Waited:
        look = partial(self._threads.run_sync, self.search.revision_status, revision)
        return await wait_alone(self.storage, look, revision, timeout_s)

    async def after(self, keys: Iterable[Key]) -> WriteOutcome:
        """See to entries that were just written; broken off, they stay queued."""
        wanted = list(keys)
        self.services.wrote()
        async with self._embedding:
            self._used = trio.current_time()
            outcome = await self.run_sync(partial(self._after, wanted))
            self._used = trio.current_time()
        return outcome

    def _after(self, keys: list[Key]) -> WriteOutcome:
        embed = True
        if self._has_worker:
            # Where no worker is at hand, as in the moment in which the right to embed changes
            # hands, one is about to be: the model is not used beside it.
            worker = self.embedding.live_worker()
            embed = worker is not None and worker.state != WorkerState.STOPPING
        return self._fallback.after(keys, embed=embed, between=self._check)

    def _check(self) -> None:
        """Stop between two calls of the encoder if the caller or the server has gone."""
        trio.from_thread.check_cancelled()
        if self._stopping:
            raise StoppingError(_STOPPING)

    def _called(self, function: Callable[[], T], about: About | None) -> T:
        try:
            return function()
        except (PyriteError, sqlite3.OperationalError) as error:
            raise self._refusal(error, about) from error

    def _refusal(self, error: Exception, about: About | None = None) -> ToolError:
        """What an agent is told of an error; in a thread where it is about an entry."""
        if isinstance(error, sqlite3.OperationalError):
            return ToolError(
                f"the database cannot be used just now ({error}); try again in a moment"
            )
        assert isinstance(error, PyriteError)
        if isinstance(error, NotFoundError) and not isinstance(error, FolderMissingError):
            # Of the two that can be missing it is the entry, if the knowledge base is there.
            if about is not None and about.kb in self.kb_names():
                return NotThereError(
                    advice.no_such_entry(
                        about.kb, about.id, near_ids(self.storage, about.kb, about.id)
                    )
                )
            return NotThereError(advice.after(error, local=self.local))
        if type(error) is ConflictError and about is not None and self._is_there(about):
            return ToolError(advice.there_already(about.kb, about.id))
        return ToolError(advice.after(error, local=self.local))

    def kb_names(self) -> list[str]:
        """All knowledge bases."""
        return [kb.name for kb in self.kbs.kbs()]

    def kb_named(self, name: str | None) -> str:
        """The knowledge base of that name, or the only one there is; in a thread.

        Raises:
            ToolError: none is named, and there is not exactly one.
            NotThereError: there is none; the message says which there are.
        """
        names = self.kb_names()
        if name is None and len(names) == 1:
            return names[0]
        if name is None:
            raise ToolError(advice.which_kb(names))
        if name not in names:
            raise NotThereError(advice.no_such_kb(name, names))
        return name

    def only(self, named: str | list[str] | None) -> list[str]:
        """The knowledge bases named: one, several or, without a name, none, which stands for all.

        Raises:
            NotThereError: there is none of such a name.
        """
        names = [named] if isinstance(named, str) else named or []
        return [self.kb_named(name) for name in names]

    def _is_there(self, about: About) -> bool:
        return self.storage.entry(about.kb, about.id) is not None

    async def rest(self) -> None:
        """Give back the model's memory whenever it has not been used for long."""
        while True:
            idle_s = self.settings.idle_unload_s
            await trio.sleep(max(idle_s, _SHORTEST_REST_S))
            if idle_s:
                await self.unload_unless_used(idle_s)

    async def unload_unless_used(self, idle_s: float) -> None:
        """Give back the model's memory if nobody has used it for so many seconds."""
        encoder = self.services.encoder
        # No search and no call that embeds is in hand meanwhile.
        async with self._embedding:
            if encoder.ready and trio.current_time() - self._used >= idle_s:
                await self._threads.run_search(encoder.unload)

    def stop(self) -> None:
        """Take no more calls; one that embeds breaks off, and its entries stay queued."""
        self._stopping = True

    async def finish(self, grace_s: float) -> None:
        """Take no more calls, and wait for those in hand, but no longer than so."""
        self.stop()
        if self._calls:
            with trio.move_on_after(grace_s):
                await self._quiet.wait()


def uri_of(kb: str, entry_id: str) -> str:
    """The address of an entry as a resource."""
    return f"pyrite://{quote(kb, safe='')}/{quote(entry_id, safe='/')}"

"""Where the tools get their answers: the services, each call off the event loop.

Searches come one at a time, for the search service keeps state between them; so do calls that
embed. Whatever a service refuses leaves here as an error that says what to do next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import trio
from mcp.server.mcpserver.exceptions import ToolError

from actors.lifecycle import Status
from pyrite.config.live import LiveSettings
from pyrite.config.redaction import without_paths
from pyrite.embedding.fallback import Fallback, WriteOutcome
from pyrite.embedding.service import EmbeddingService
from pyrite.errors import ConflictError, FolderMissingError, NotFoundError, PyriteError
from pyrite.knowledge.service import KBService
from pyrite.mcp import advice
from pyrite.search.freshness import Waited, outcome_of
from pyrite.search.service import SearchService
from pyrite.storage.records import Filters, Key
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.vault.sync import FolderSync

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.storage.protocol import Storage

T = TypeVar("T")

#: Calls that may be in threads at a time.
_THREADS = 16

#: So many ids are looked through for those near one that there is not.
_IDS = 5000

#: How often who waits for a write looks how far that is, in seconds.
_LOOK_S = 0.02

#: However short the rest, the model is given back no more often than this, in seconds.
_SHORTEST_REST_S = 1.0


class StoppingError(PyriteError):
    """The server was told to stop while it embedded."""


class NotThereError(ToolError):
    """There is no such knowledge base or entry."""


@dataclass(frozen=True, slots=True)
class About:
    """Which entry a call is about, for the error that names others."""

    kb: str
    id: str


class Desk:
    """The services behind one MCP server, or several over one database."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        encoder: TextEncoder,
        *,
        environ: Mapping[str, str] = MappingProxyType({}),
        clock: Callable[[], float] = time.time,
        local: bool = True,
    ) -> None:
        """Open the services; no model is loaded.

        Args:
            storage: the database.
            settings: those in force at the start; a pause is followed as it comes and goes.
            encoder: not yet loaded.
            environ: what goes before the configuration file.
            clock: the time since the epoch.
            local: whether those who call sit at this computer, and may be told its paths.
        """
        self.storage = storage
        self.environ = environ
        self.clock = clock
        self.local = local
        self.kbs = KBService(storage, settings, clock=clock)
        self.embedding = EmbeddingService(storage, settings, clock)
        self.sync = FolderSync(storage, settings, clock)
        self.search = SearchService(storage, encoder, settings, clock)
        self._encoder = encoder
        self._live = LiveSettings(settings, environ)
        self._fallback = Fallback(
            storage, lambda: encoder, self.embedding, lambda: self.settings, clock
        )
        self._threads = trio.CapacityLimiter(_THREADS)
        self._searching = trio.Lock()
        self._embedding = trio.Lock()
        self._calls = 0
        self._stopping = False
        self._quiet = trio.Event()
        self._used = -math.inf

    @property
    def settings(self) -> Settings:
        """Those in force now."""
        return self._live.read() if self._live.has_changed() else self._live.settings

    def told(self, text: str) -> str:
        """The text as the caller may see it."""
        return text if self.local else without_paths(text)

    async def run_sync(self, function: Callable[[], T], about: About | None = None) -> T:
        """Run a blocking call in a thread, to its end, whatever is cancelled meanwhile.

        Raises:
            ToolError: a service refused it, or the server stops.
            NotThereError: there is no such knowledge base or entry.
        """
        if self._stopping:
            raise ToolError("the server is stopping; nothing was done")
        self._calls += 1
        try:
            return await trio.to_thread.run_sync(
                partial(self._called, function, about), limiter=self._threads
            )
        finally:
            self._ended()

    def _ended(self) -> None:
        """Note the end of a call, and whether it was the last before a stop."""
        self._calls -= 1
        if self._stopping and not self._calls:
            self._quiet.set()

    async def run_search(self, function: Callable[[], T], about: About | None = None) -> T:
        """The same for what uses the search service: one at a time."""
        async with self._searching:
            self._used = trio.current_time()
            return await self.run_sync(function, about)

    async def wait(self, revision: int, timeout_s: float) -> Waited:
        """Wait until a write can be found by meaning; holds up no search, and keeps no thread.

        Raises:
            NotThereError: there has been no such write.
        """

        def status() -> Status | None:
            return self.storage.revision_status(revision, self.search.model_id)

        started = trio.current_time()
        while True:
            found = await self.run_sync(status)
            waited = trio.current_time() - started
            outcome = outcome_of(found, waited, timeout_s)
            if outcome is not None:
                return Waited(revision, outcome, waited)
            await trio.sleep(min(_LOOK_S, timeout_s - waited))

    async def after(self, keys: Iterable[Key]) -> WriteOutcome:
        """See to entries that were just written; broken off, they stay queued."""
        wanted = list(keys)
        async with self._embedding:
            self._used = trio.current_time()
            outcome = await self.run_sync(lambda: self._fallback.after(wanted, between=self._check))
            self._used = trio.current_time()
        return outcome

    def _check(self) -> None:
        """Stop between two calls of the encoder if the caller or the server has gone."""
        trio.from_thread.check_cancelled()
        if self._stopping:
            raise StoppingError("the server is stopping")

    def _called(self, function: Callable[[], T], about: About | None) -> T:
        try:
            return function()
        except FolderMissingError as error:
            raise ToolError(advice.after(error, local=self.local)) from error
        except NotFoundError as error:
            # Of the two that can be missing it is the entry, if the knowledge base is there.
            if about is not None and about.kb in self.kb_names():
                known = self._ids(about.kb)
                text = advice.no_such_entry(about.kb, about.id, known)
                raise NotThereError(text) from error
            raise NotThereError(advice.after(error, local=self.local)) from error
        except PyriteError as error:
            conflict = type(error) is ConflictError
            if conflict and about is not None and self._is_there(about):
                raise ToolError(advice.there_already(about.kb, about.id)) from error
            raise ToolError(advice.after(error, local=self.local)) from error
        except sqlite3.OperationalError as error:
            text = f"the database cannot be used just now ({error}); try again in a moment"
            raise ToolError(text) from error

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

    def _ids(self, kb: str) -> list[str]:
        found = self.storage.entries(Filters(kbs=(kb,)), limit=_IDS)
        return [stored.entry.id for stored in found]

    async def rest(self) -> None:
        """Give back the model's memory whenever it has not been used for long."""
        while True:
            idle_s = self.settings.idle_unload_s
            await trio.sleep(max(idle_s, _SHORTEST_REST_S))
            if idle_s:
                await self.unload_unless_used(idle_s)

    async def unload_unless_used(self, idle_s: float) -> None:
        """Give back the model's memory if nobody has used it for so many seconds."""
        async with self._searching, self._embedding:
            if self._encoder.ready and trio.current_time() - self._used >= idle_s:
                await trio.to_thread.run_sync(self._encoder.unload)

    async def finish(self, grace_s: float) -> None:
        """Take no more calls, and wait for those in threads, but no longer than so."""
        self._stopping = True
        if self._calls:
            with trio.move_on_after(grace_s):
                await self._quiet.wait()


def uri_of(kb: str, entry_id: str) -> str:
    """The address of an entry as a resource."""
    return f"pyrite://{quote(kb, safe='')}/{quote(entry_id, safe='/')}"

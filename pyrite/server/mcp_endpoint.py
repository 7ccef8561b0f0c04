"""The MCP servers of a process that serves, one for each tier, and the end of their sessions.

The MCP library takes most of a second and 28 MB to import, so it is imported by the first request
to ``/mcp``, in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from pyrite.api.problems import ProblemError
from pyrite.auth.credentials import Caller
from pyrite.auth.tokens import Tier
from pyrite.services.services import Services
from pyrite.services.threads import Threads

if TYPE_CHECKING:
    from pyrite.mcp.executor import ToolExecutor, Wait
    from pyrite.mcp.http import TierApplication

#: The part of the grace period in which requests in hand may be answered; closing connections
#: takes of the rest.
_ANSWERS_GRACE = 0.5


class MCPEndpoint:
    """The MCP servers of one process; used from the Trio thread."""

    def __init__(
        self,
        services: Services,
        threads: Threads,
        wait: Wait,
        *,
        embeds: bool,
        highest: Tier,
        sessions: bool,
    ) -> None:
        """Make one that serves nobody before it runs.

        Args:
            services: those of the process.
            threads: where all blocking calls of the process run.
            wait: waits for a write, by the process's feed.
            embeds: whether a worker runs in this process, and so has the model.
            highest: the tier above which nobody gets any tools.
            sessions: whether sessions are kept, which only this process knows.
        """
        self._services = services
        self._threads = threads
        self._wait = wait
        self._embeds = embeds
        self._highest = highest
        self._sessions = sessions
        self._executor: ToolExecutor | None = None
        self._applications: dict[Tier, TierApplication] = {}
        self._making = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._in_hand = 0
        self._answered = trio.Event()
        self._stopping = False

    async def run(self, closing: trio.Event) -> None:
        """Keep sessions until the process closes; then answer what is in hand, and end them."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await closing.wait()
            self._stopping = True
            if self._executor is not None:
                self._executor.stop()
            with trio.move_on_after(self._services.settings.grace_s * _ANSWERS_GRACE):
                if self._in_hand:
                    await self._answered.wait()
            self._nursery = None
            nursery.cancel_scope.cancel()

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """A request that a stop waits for until it is answered."""
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1
            if self._stopping and not self._in_hand:
                self._answered.set()

    async def application_for(self, caller: Caller) -> TierApplication:
        """The server with the tools that both the caller and this process allow.

        Raises:
            ProblemError: 503 where the process stops.
        """
        allowed = (each for each in Tier if self._highest.includes(each) and caller.may(each))
        tier = max(allowed, key=list(Tier).index)
        async with self._making:
            self._running()
            if tier not in self._applications:
                made = await self._threads.run_sync(self._make, tier)
                nursery = self._running()
                if not self._applications and not self._embeds:
                    # A worker gives the model back by itself.
                    nursery.start_soon(self._rest)
                await nursery.start(_keep, made)
                self._applications[tier] = made
        return self._applications[tier]

    @property
    def stopped(self) -> bool:
        """Whether no session is kept any more, or not yet."""
        return self._nursery is None

    def _running(self) -> trio.Nursery:
        if self._stopping or self._nursery is None:
            raise stopping()
        return self._nursery

    def _make(self, tier: Tier) -> TierApplication:
        from pyrite.mcp.executor import ToolExecutor  # noqa: PLC0415
        from pyrite.mcp.http import TierApplication  # noqa: PLC0415

        if self._executor is None:
            self._executor = ToolExecutor(
                *(self._services, self._threads),
                wait=self._wait,
                has_worker=self._embeds,
                local=False,
            )
        return TierApplication(self._executor, tier, sessions=self._sessions)

    async def _rest(self) -> None:
        if self._executor is not None:
            await self._executor.rest()


def stopping() -> ProblemError:
    """What a request is refused with once the process stops."""
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Stopping",
        "the server is stopping; nothing was done",
        headers={"Retry-After": "5"},
    )


async def _keep(
    application: TierApplication, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Keep an application's sessions until cancelled."""
    async with application.running():
        task_status.started()
        await trio.sleep_forever()

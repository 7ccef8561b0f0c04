"""Health checks: liveness and readiness.

``/healthz`` answers while the process can answer at all: a supervisor restarts on its silence.
``/readyz`` says whether writes are kept and embedded: a person or a load balancer looks at it.
Both are open to anybody, and tell those without a token no more than names of reasons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio
from quart import Response, current_app, jsonify
from quart_trio import QuartTrio

from actors.messages import Statistics, WorkerState
from pyrite.auth.permissions import public, unmetered
from pyrite.auth.tokens import Tier
from pyrite.config.redaction import without_paths
from pyrite.errors import PyriteError
from pyrite.server.current import server
from pyrite.server.middleware.security import identify
from pyrite.storage.protocol import Storage
from pyrite.storage.queue_records import Leader, WorkerRow
from pyrite.storage.sqlite.driver import sqlite3

if TYPE_CHECKING:
    from pyrite.server.process import ServerProcess

#: How long the database may take to be asked, in seconds.
PATIENCE_S = 2.0

#: An answer holds for so long, in seconds: anybody may ask, and asking takes the write lock.
LASTS_S = 1.0

_READINESS = "pyrite.readiness"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the server is not ready."""

    #: For programs: closing, database, no_leader or degraded.
    name: str
    #: For people with a token.
    text: str


def install(app: QuartTrio) -> None:
    """Serve ``GET /healthz`` and ``GET /readyz``."""
    app.add_url_rule("/healthz", "healthz", healthz, methods=["GET"])
    app.add_url_rule("/readyz", "readyz", readyz, methods=["GET"])


@public
@unmetered
async def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@public
@unmetered
async def readyz() -> tuple[Response, int]:
    """Whether writes are kept and embedded, and if not, why."""
    reasons = await _readiness().reasons()
    if not reasons:
        return jsonify({"status": "ready"}), HTTPStatus.OK
    body: dict[str, object] = {"status": "not ready", "reasons": [each.name for each in reasons]}
    # Without its database, the server does not know anybody.
    unknown = any(each.name == "database" for each in reasons)
    if not unknown and (await identify()).may(Tier.READ):
        body["details"] = {each.name: without_paths(each.text) for each in reasons}
    response = jsonify(body)
    response.headers["Retry-After"] = "5"
    return response, HTTPStatus.SERVICE_UNAVAILABLE


def _readiness() -> Readiness:
    found = current_app.extensions.get(_READINESS)
    if not isinstance(found, Readiness):
        found = current_app.extensions[_READINESS] = Readiness(server())
    return found


class Readiness:
    """Looks at a process at most once a second, and never for long."""

    def __init__(self, served: ServerProcess) -> None:
        self._process = served
        self._looking = trio.Lock()
        #: A look that hangs keeps its thread; the next one waits for it, and then gives up.
        self._threads = trio.CapacityLimiter(1)
        self._found: list[Reason] = []
        self._until = -math.inf

    async def reasons(self) -> list[Reason]:
        """Why it is not ready; empty when it is."""
        # Never out of date: a load balancer is to turn away from what closes.
        if self._process.closing.is_set():
            return [Reason("closing", "the server is stopping")]
        async with self._looking:
            if trio.current_time() >= self._until:
                self._found = await self._look()
                self._until = trio.current_time() + LASTS_S
        return self._found

    async def _look(self) -> list[Reason]:
        served = self._process
        with trio.move_on_after(PATIENCE_S):
            try:
                leader, workers = await trio.to_thread.run_sync(
                    ask, served.storage, abandon_on_cancel=True, limiter=self._threads
                )
            except (PyriteError, sqlite3.Error, OSError) as error:
                return [Reason("database", f"the database cannot be written: {error}")]
            return judge(served.worker_state(), leader, workers, now=served.clock())
        return [Reason("database", f"the database has not answered for {PATIENCE_S:g} s")]


def ask(storage: Storage) -> tuple[Leader | None, list[WorkerRow]]:
    """Who embeds, from a database that can be written."""
    # Nothing is written, but the lock is taken, as only one who may write can.
    with storage.writing():
        pass
    return storage.leader(), storage.workers()


def judge(
    own: Statistics | None, leader: Leader | None, workers: list[WorkerRow], *, now: float
) -> list[Reason]:
    """Why entries are not embedded; empty when they are.

    Args:
        own: the worker in this process, if there is one.
        leader: who took the right to embed last.
        workers: those of all processes, latest heartbeat first.
        now: the time since the epoch.
    """
    if own is not None:
        state, reason = own.state, own.reason
    elif leader is None or leader.expires_at <= now:
        return [Reason("no_leader", "no process has the right to embed")]
    else:
        row = next((each for each in workers if each.worker_id == leader.worker_id), None)
        if row is None:
            return []  # it has only just begun
        state, reason = WorkerState(row.state), row.reason
    if state is not WorkerState.DEGRADED:
        return []
    return [Reason("degraded", f"embedding waits: {reason or 'no reason is known'}")]

"""The service under a Hypercorn of its own: ``hypercorn -k trio "pyrite.server.asgi:create()"``.

Hypercorn starts the app in each of its worker processes, and each has a node of its own, of
which one at a time embeds. What differs from ``pyrite serve`` is who is told to stop:

- SIGTERM goes to the master, which tells its workers by an event. Sent to a worker as well, as
  a supervisor does that signals the whole group, it must not end it in the middle of an encode
  call; there it begins the stop of the node, and Hypercorn ends the rest.
- A crash in a task of the app would end no more than the lifespan, and the API would be served
  on over a dead pipeline. So it is logged, and ends the worker process. Hypercorn then stops its
  other workers and itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Mapping
from contextlib import suppress

import trio
from quart_trio import QuartTrio

from pyrite.config import loading
from pyrite.config.settings import Settings
from pyrite.encoders.choose import encoder_of
from pyrite.encoders.protocol import TextEncoder
from pyrite.server import connections, logs
from pyrite.server.app import create_app
from pyrite.server.current import KEY
from pyrite.server.main import crashed, leave
from pyrite.server.node import Node
from pyrite.storage.sqlite.store import SqliteStorage

_log = logging.getLogger("pyrite.server")

#: How long a node that was told to stop waits for Hypercorn to stop as well, in seconds.
_HYPERCORN_S = 3.0


def create(
    environ: Mapping[str, str] | None = None, *, encoder: TextEncoder | None = None
) -> QuartTrio:
    """The app, which makes its node when it begins to serve.

    Args:
        environ: where the settings come from; the process's own, if not given.
        encoder: makes the embeddings, if it is not the one that the settings name.
    """
    environ = os.environ if environ is None else environ
    settings = loading.load(environ)
    logs.configure(settings, environ)
    connections.install()
    hosted = _Hosted(settings, environ, encoder)
    app = create_app()
    # More than a stop of the node can take: the app's tasks are not to be cancelled before it.
    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = settings.grace_s + 1

    @app.before_serving
    async def begin() -> None:
        app.extensions[KEY] = await app.nursery.start(hosted.run)
        app.nursery.start_soon(hosted.leave_alone)

    @app.after_serving
    async def end() -> None:
        await hosted.end()

    ignore_terminate()
    return app


def ignore_terminate() -> None:
    """Leave it to the master, before and after there is a node to be stopped."""
    with suppress(ValueError):  # not in the main thread, so not in a worker of Hypercorn's
        # As Ctrl-C is: without a master it ends the server, and with one it is ignored.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


class _Hosted:
    """A node in a worker process of Hypercorn's."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], encoder: TextEncoder | None
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._encoder = encoder
        self._node: Node | None = None
        self._ended = trio.Event()
        self._leaving = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[Node]) -> None:
        """Run a node to its end; a crash ends the process."""
        try:
            await self._run(task_status)
        except trio.Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends by it
            leave(crashed(error))
        except BaseExceptionGroup as group:
            _, crash = group.split((trio.Cancelled, KeyboardInterrupt))
            if crash is None:
                raise
            leave(crashed(crash))

    async def leave_alone(self) -> None:
        """End the process if its node was stopped, and Hypercorn does not stop as well.

        Then the signal was for this process alone, or there is no master any more. A master
        starts another worker in its place.
        """
        with self._leaving:
            await self._ended.wait()
            await trio.sleep(_HYPERCORN_S)
            leave(0)

    async def end(self) -> None:
        """Stop the node, and return when it has ended; no request is in flight any more."""
        if self._node is None:
            return
        self._leaving.cancel()
        with trio.CancelScope(shield=True) as limited:
            limited.deadline = trio.current_time() + self._settings.grace_s
            self._node.stop()
            await self._ended.wait()
        self._node.storage.close()

    async def _run(self, task_status: trio.TaskStatus[Node]) -> None:
        storage = await trio.to_thread.run_sync(SqliteStorage, self._settings.database_path)
        encoder = self._encoder or encoder_of(self._settings, _log.info)
        self._node = node = Node(self._settings, storage, encoder, environ=self._environ)
        async with trio.open_nursery() as beside:
            await beside.start(self._watch_signals, node)
            beside.start_soon(self._watch_master, node)
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                task_status.started(node)
            self._ended.set()
            beside.cancel_scope.cancel()

    async def _watch_signals(self, node: Node, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                node.stop()

    async def _watch_master(self, node: Node) -> None:
        """Stop when the master has gone, and nobody is left to tell."""
        master = multiprocessing.parent_process()
        if master is not None:
            await trio.lowlevel.wait_readable(master.sentinel)
            _log.error("Hypercorn's master process has gone: this worker ends")
            node.stop()

"""The service under a Hypercorn of its own: ``hypercorn -k trio "pyrite.server.asgi:create()"``.

Hypercorn starts the app in each of its worker processes, and each makes services of its own;
one of them at a time embeds. What differs from ``pyrite serve`` is who is told to stop:

- SIGTERM goes to the master, which tells its workers by an event. Sent to a worker as well, as
  a supervisor does that signals the whole group, it must not end it in the middle of an encode
  call; there it begins the stop of what runs in it, and Hypercorn ends the rest.
- A crash in a task of the app would end no more than the lifespan, and the API would be served
  on over a dead pipeline. So it is logged, and ends the worker process. Hypercorn then stops its
  other workers and itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Mapping
from contextlib import suppress

import trio
from quart_trio import QuartTrio

from pyrite.encoders.protocol import TextEncoder
from pyrite.server import logs
from pyrite.server.app import create_app
from pyrite.server.connections import protocols
from pyrite.server.current import KEY
from pyrite.server.main import crashed, leave
from pyrite.server.process import ServerProcess
from pyrite.services.services import Services

_log = logging.getLogger("pyrite.server")

#: How long a process that was told to stop waits for Hypercorn to stop as well, in seconds.
_HYPERCORN_S = 3.0


def create(
    environ: Mapping[str, str] | None = None, *, encoder: TextEncoder | None = None
) -> QuartTrio:
    """The app, which opens the database when it begins to serve.

    Args:
        environ: where the settings come from; the process's own, if not given.
        encoder: makes the embeddings, if it is not the one that the settings name.
    """
    services = Services(environ, encoder=encoder, say=_log.info, shares_encoder=True)
    settings = services.settings
    logs.configure(settings, services.environ)
    protocols.install()
    hosted = _Hosted(services)
    app = create_app()
    # More than a stop can take: the app's tasks are not to be cancelled before it.
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
    """Leave it to the master, before and after there is anything to be stopped."""
    with suppress(ValueError):  # not in the main thread, so not in a worker of Hypercorn's
        # As Ctrl-C is: without a master it ends the server, and with one it is ignored.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


class _Hosted:
    """What runs in a worker process of Hypercorn's."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._process: ServerProcess | None = None
        self._ended = trio.Event()
        self._leaving = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[ServerProcess]) -> None:
        """Run to the end; a crash ends the process."""
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
        """End the process if what runs in it was stopped, and Hypercorn does not stop as well.

        Then the signal was for this process alone, or there is no master any more. A master
        starts another worker in its place.
        """
        with self._leaving:
            await self._ended.wait()
            await trio.sleep(_HYPERCORN_S)
            leave(0)

    async def end(self) -> None:
        """Stop what runs, and return when it has ended; no request is in flight any more."""
        if self._process is None:
            return
        self._leaving.cancel()
        with trio.CancelScope(shield=True) as limited:
            limited.deadline = trio.current_time() + self._services.settings.grace_s
            self._process.stop()
            await self._ended.wait()
        self._services.close()

    async def _run(self, task_status: trio.TaskStatus[ServerProcess]) -> None:
        # In a thread, for another process may keep the database for a while.
        await trio.to_thread.run_sync(lambda: self._services.storage)
        self._process = process = ServerProcess(
            self._services, alone=multiprocessing.parent_process() is None
        )
        async with trio.open_nursery() as beside:
            await beside.start(self._watch_signals, process)
            beside.start_soon(self._watch_master, process)
            async with trio.open_nursery() as nursery:
                await nursery.start(process.run)
                task_status.started(process)
            self._ended.set()
            beside.cancel_scope.cancel()

    async def _watch_signals(
        self, process: ServerProcess, task_status: trio.TaskStatus[None]
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                process.stop()

    async def _watch_master(self, process: ServerProcess) -> None:
        """Stop when the master has gone, and nobody is left to tell."""
        master = multiprocessing.parent_process()
        if master is not None:
            await trio.lowlevel.wait_readable(master.sentinel)
            _log.error("Hypercorn's master process has gone: this worker ends")
            process.stop()

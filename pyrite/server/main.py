"""Run the server for ``pyrite serve`` and ``pyrite mcp --http``: one Trio run for all of it.

Whatever crashes takes everything with it; what went wrong is logged, and the exit code is not
0, so that a supervisor starts the service again.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NoReturn

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http
from quart_trio import QuartTrio

from actors.pipeline import cause
from pyrite.auth.authentication import check_bind
from pyrite.auth.tokens import Tier
from pyrite.config.settings import Settings
from pyrite.errors import PyriteError
from pyrite.server import logs
from pyrite.server.app import create_app
from pyrite.server.connections import protocols
from pyrite.server.process import ServerProcess
from pyrite.server.systemd import tell_supervisor
from pyrite.services.services import Services
from pyrite.services.signals import open_stop_signals

_log = logging.getLogger("pyrite.server")

#: Exit codes of a service that has crashed: on what an error of ours explains, and on a bug.
FAILED = 1
BUG = 70

#: By convention, a program that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128

#: How long requests in flight may take once the service stops, in seconds.
_LAST_REQUESTS_S = 1.0

#: How often each WebSocket is pinged, in seconds.
_PING_S = 20.0

#: A client from which nothing has come for so long, not even an answer to a ping, is gone.
_SILENCE_S = 60

#: Connections that may wait to be accepted.
_BACKLOG = 1024


class BindError(PyriteError):
    """The service cannot listen where it was told to."""


def hypercorn_config(settings: Settings, listening: socket.socket) -> Config:
    """How Hypercorn serves on a socket, which becomes its own."""
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.backlog = _BACKLOG
    config.include_server_header = False
    config.graceful_timeout = min(_LAST_REQUESTS_S, settings.grace_s / 2)
    config.websocket_ping_interval = _PING_S
    config.read_timeout = _SILENCE_S
    # A client of the feed has little to say; `pyrite.server.feed.websocket` caps it further.
    config.websocket_max_message_size = 2**16
    config.keep_alive_timeout = _SILENCE_S
    config.errorlog = logging.getLogger("hypercorn.error")
    # That it listens is said by us.
    config.errorlog.setLevel(logging.WARNING)
    return config


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Raises:
        BindError: the message says why that cannot be, and what to do.
    """
    where = f"port {port} of {host}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BindError(f"{host!r} is no address of this computer: {error.strerror}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Two processes can bind a port, but only one can listen on it.
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise BindError(
            f"the server cannot listen on {where}: {os.strerror(error.errno or 0)}; is another "
            "one running? --port names another port, and 0 takes a free one"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """The URL at which a bound socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _print(address: str) -> None:
    # Who started it waits for this line.
    print(f"Pyrite listens on {address}", flush=True)  # noqa: T201


def serve(
    services: Services, *, say: Callable[[str], None] = _print, only_mcp: Tier | None = None
) -> int:
    """Serve until a signal comes or something crashes.

    Args:
        services: those of the process, closed afterwards. The settings ``host`` and ``port`` say
            where to listen, and the environment where a supervisor listens.
        say: is told the address once all is ready.
        only_mcp: serve nothing but MCP, with the tools of this tier at most, and start no worker.

    Returns:
        The exit code: 0 after a stop that was asked for; 1 or 70 after a crash, which has been
        logged.

    Raises:
        BindError: the address is taken, or is none of this computer's.
        ConfigError: others could reach it, and there are no tokens.
        StorageError: the database cannot be opened.
    """
    settings = services.settings
    logs.configure(settings, services.environ)
    protocols.install()
    with closing(services):
        embeds = only_mcp is None
        process = ServerProcess(services, embeds=embeds, highest=only_mcp or Tier.ADMIN)
        running = _Run(process, create_app(process, only_mcp=not embeds), say)
        check_bind(settings.host, services.tokens)
        if services.storage.is_read_only:
            _log.warning(
                "the database %s can only be read here: what reads works, and what writes is "
                "refused",
                services.storage.path,
            )
        bound = bind(settings.host, settings.port)
        try:
            trio.run(running.run, bound)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - it is told and logged
            return crashed(error)
    return 0


def crashed(error: BaseException) -> int:
    """Log what brought the service down; the exit code."""
    found = cause(error) if isinstance(error, BaseExceptionGroup) else error
    if isinstance(found, PyriteError):
        _log.critical("the service has failed: %s", found)
        return FAILED
    _log.critical("the service has crashed: %r", found, exc_info=found)
    return BUG


class _Run:
    """One run of the server."""

    def __init__(self, process: ServerProcess, app: QuartTrio, say: Callable[[str], None]) -> None:
        self._process = process
        self._app = app
        self._say = say

    async def run(self, bound: socket.socket) -> None:
        """Serve on a bound socket until a signal comes.

        Raises:
            BaseExceptionGroup: something has crashed.
        """
        process = self._process
        address = address_of(bound)
        config = hypercorn_config(process.settings, bound)
        async with trio.open_nursery() as beside:
            await beside.start(self._watch_signals)
            beside.start_soon(self._end_in_time)
            async with trio.open_nursery() as nursery:
                await nursery.start(process.run)
                await nursery.start(
                    partial(serve_http, self._app, config, shutdown_trigger=process.answered.wait)
                )
                if not process.closing.is_set():
                    self._say(address)
                    tell_supervisor(process.environ, "READY=1")
            beside.cancel_scope.cancel()

    async def _watch_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """The first signal begins a graceful stop; the second ends the process at once."""
        stopped = False
        with open_stop_signals() as signals:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if stopped:
                    _log.warning("a second signal, %s: the process ends at once", name)
                    leave(_SIGNAL_EXIT + number)
                stopped = True
                _log.info("%s: the service stops", name)
                tell_supervisor(self._process.environ, "STOPPING=1")
                self._process.stop()

    async def _end_in_time(self) -> None:
        """End the process if a stop takes longer than it may.

        What is left then hangs, in a thread or even on the event loop, so it is a thread that
        waits. Nothing is lost by leaving: what was committed is durable, and the next worker
        finds this one dead and frees its claims.
        """
        await self._process.closing.wait()
        timer = threading.Timer(self._process.settings.grace_s, _leave_what_hangs)
        timer.daemon = True
        timer.start()
        try:
            await trio.sleep_forever()
        finally:
            timer.cancel()


def _leave_what_hangs() -> None:
    _log.warning("the grace period is over: the process ends, and leaves what hangs")
    leave(0)


def leave(code: int) -> NoReturn:
    """End the process without waiting for any thread."""
    logs.flush()
    sys.stdout.flush()
    os._exit(code)

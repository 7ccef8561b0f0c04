"""The server over standard input and output, for a client that starts it itself."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import trio

from pyrite.auth.tokens import Tier
from pyrite.mcp.desk import Desk
from pyrite.mcp.server import PyriteServer

#: By convention, a command that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128


async def serve_stdio(desk: Desk, tier: Tier) -> None:
    """Serve until standard input ends. Nothing but the protocol goes to standard output."""
    server = PyriteServer(desk, tier)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_end_on_signal, desk)
            nursery.start_soon(desk.rest)
            await server.run_stdio_async()
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        sys.stderr.write("the client has gone\n")


async def _end_on_signal(
    desk: Desk, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """On Ctrl-C and SIGTERM finish the calls in hand, within the grace period, and leave."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            await desk.finish(desk.settings.grace_s)
            _leave(number)


def _leave(number: int) -> NoReturn:
    """End the process without waiting for the thread that reads standard input."""
    sys.stderr.flush()
    os._exit(_SIGNAL_EXIT + number)

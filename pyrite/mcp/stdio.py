"""The server over standard input and output, for a client that starts it itself."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import trio

from pyrite.auth.tokens import Tier
from pyrite.mcp.executor import ToolExecutor
from pyrite.mcp.server import PyriteServer
from pyrite.services.services import Services

#: By convention, a command that a signal has ended exits with this more than its number.
_SIGNAL_EXIT = 128


async def serve_stdio(services: Services, tier: Tier) -> None:
    """Serve until standard input ends. Nothing but the protocol goes to standard output."""
    executor = ToolExecutor(services)
    server = PyriteServer(executor, tier)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_end_on_signal, executor)
            nursery.start_soon(executor.rest)
            await server.run_stdio_async()
            nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        sys.stderr.write("the client has gone\n")


async def _end_on_signal(
    executor: ToolExecutor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """On Ctrl-C and SIGTERM finish the calls in hand, within the grace period, and leave."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            await executor.finish(executor.settings.grace_s)
            _leave(number)


def _leave(number: int) -> NoReturn:
    """End the process without waiting for the thread that reads standard input."""
    sys.stderr.flush()
    os._exit(_SIGNAL_EXIT + number)

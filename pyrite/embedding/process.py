"""The identity of a process, and whether another one is still alive."""

from __future__ import annotations

import os
import platform
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Process(Protocol):
    """What a row of the database says of the process that wrote it."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def host(self) -> str:
        """The computer it ran on."""
        ...

    @property
    def process_started(self) -> str | None:
        """What :func:`process_started` says of it."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a worker, in a process of this machine."""

    worker_id: str
    pid: int
    host: str
    #: When the process started, in the system's own terms; None where it does not tell.
    process_started: str | None


def identity() -> Identity:
    """A new worker of this process."""
    pid = os.getpid()
    return Identity(secrets.token_hex(8), pid, platform.node(), process_started(pid))


def process_started(pid: int) -> str | None:
    """A text that no later process with this pid will have; None where the system has none.

    A process that has ended and is only waited for is told apart from all that live.
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The command's name, in parentheses, may hold anything. After it come the state and,
        # as the 20th field, the start time.
        fields = stat.rpartition(")")[2].split()
        return "ended" if fields[0] in {"Z", "X"} else f"{boot}:{fields[19]}"
    return None


def is_dead(worker: Process) -> bool:
    """Whether the process is known to have ended; False where that cannot be known."""
    if worker.host != platform.node():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    started = process_started(worker.pid)
    return None not in {started, worker.process_started} and started != worker.process_started

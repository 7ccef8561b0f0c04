"""The real command with a model that costs nothing and waits for whatever it is told to.

Started as ``python -m tests.integration.launcher ARGUMENTS``; by the environment:

- ``LAUNCHER_DELAY_S``: how long each call of the model takes.
- ``LAUNCHER_GATE``: a path. A call makes the file ``PATH.begun`` and then waits for ``PATH``.
- ``LAUNCHER_GATED``: which call does so, ``encode`` or ``load``.
- ``LAUNCHER_BUG``: a path. Once it exists, whoever asks whether the model is ready crashes.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from pyrite.cli import context, drain, progress
from pyrite.cli.main import main
from tests.fakes.encoder import FakeEncoder

GATE = os.environ.get("LAUNCHER_GATE")
BUG = os.environ.get("LAUNCHER_BUG")
GATED = os.environ.get("LAUNCHER_GATED", "encode")


def wait_at_gate(call: str) -> None:
    """Wait until whoever started this opens the gate."""
    if GATE and call == GATED:
        Path(f"{GATE}.begun").touch()
        while not Path(GATE).exists():
            time.sleep(0.002)


class GatedEncoder(FakeEncoder):
    @property
    def ready(self) -> bool:
        if BUG and Path(BUG).exists():
            raise ZeroDivisionError("a bug in an actor")
        return self._ready

    @ready.setter
    def ready(self, value: bool) -> None:
        self._ready = value

    def load(self) -> None:
        wait_at_gate("load")
        super().load()

    def encode(self, texts: Sequence[str]) -> Sequence[object]:  # type: ignore[override]
        wait_at_gate("encode")
        return super().encode(texts)


def encoder_of_environment() -> GatedEncoder:
    return GatedEncoder(delay_s=float(os.environ.get("LAUNCHER_DELAY_S", "0")))


if __name__ == "__main__":
    if sys.stdin is not None and sys.stdin.isatty():
        # From here on, Ctrl-C on this terminal is for this process.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    encoder = encoder_of_environment()
    context.make_encoder = lambda settings: encoder
    drain._TICK_S = 0.01
    progress.PLAIN_EVERY_S = 0.0
    main()

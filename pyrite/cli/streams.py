"""Standard input and output, whatever state the command was given them in."""

from __future__ import annotations

import io
import os
import sys

from pyrite.cli.output import note

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_streams() -> None:
    """See that there are streams, and that every text can be written to them.

    A stream that was closed becomes an empty one, so that no file is opened in its place and
    written to by mistake. What a stream's encoding lacks is written as an escape.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Write out what is left; the exit code, which is another where that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Keep Python from trying once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has gone.
            return code
        note(f"pyrite: the output cannot be written: {error.strerror}")
        return code or 1
    return code

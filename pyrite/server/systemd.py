"""Readiness notification of the supervisor that started the server (systemd's sd_notify)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress


def tell_supervisor(environ: Mapping[str, str], state: str) -> None:
    """Tell it a state, such as ``READY=1``, if it listens; whether it does changes nothing here."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    # A name that begins with an at sign is in Linux's abstract namespace, where a zero stands.
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect(address)
        out.send(state.encode())

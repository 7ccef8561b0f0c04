"""What the request in hand is served with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import current_app

if TYPE_CHECKING:
    from pyrite.server.process import ServerProcess

#: Where the app keeps the process that it serves from.
KEY = "pyrite"


def server() -> ServerProcess:
    """What runs in this process."""
    return cast("ServerProcess", current_app.extensions[KEY])

"""The server process behind the request in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import current_app

if TYPE_CHECKING:
    from pyrite.server.process import ServerProcess

#: Where the app keeps the process that it serves from.
KEY = "pyrite"


def server() -> ServerProcess:
    """The server process of the present application."""
    return cast("ServerProcess", current_app.extensions[KEY])

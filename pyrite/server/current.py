"""What the request in hand is served with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import current_app

if TYPE_CHECKING:
    from pyrite.server.node import Node

#: Where the app keeps its node.
KEY = "pyrite"


def node() -> Node:
    """The node of this process."""
    return cast("Node", current_app.extensions[KEY])

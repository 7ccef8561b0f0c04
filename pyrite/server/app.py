"""The web application: everything that is served over HTTP, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart_trio import QuartTrio

from pyrite.server import health, logs, routes
from pyrite.server.current import KEY, node
from pyrite.server.feed import websocket
from pyrite.server.middleware import problems, security
from pyrite.server.middleware.unread_body import answering
from pyrite.server.openapi import document
from pyrite.server.routes import metrics

if TYPE_CHECKING:
    from pyrite.server.node import Node

__all__ = ["create_app", "node"]


def create_app(served: Node | None = None) -> QuartTrio:
    """Make the application.

    Args:
        served: what it serves, which the caller runs; without one, whoever runs the app puts
            it into ``app.extensions["pyrite"]`` before the first request.
    """
    app = QuartTrio("pyrite", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # An id that has two slashes in a row is refused, not redirected.
    app.url_map.merge_slashes = False
    # What a body may hold is the business of `security`.
    app.config["MAX_CONTENT_LENGTH"] = None
    if served is not None:
        app.extensions[KEY] = served
    logs.install(app)
    problems.install(app)
    security.install(app)
    metrics.install(app)
    health.install(app)
    websocket.install(app)
    routes.install(app)
    document.install(app)
    app.asgi_app = answering(app.asgi_app)  # type: ignore[method-assign, assignment]
    return app

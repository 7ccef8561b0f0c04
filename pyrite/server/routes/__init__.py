"""The addresses under /api."""

from __future__ import annotations

from quart_trio import QuartTrio

from pyrite.server.routes import bulk, entries, index, kbs, links, search


def install(app: QuartTrio) -> None:
    """Serve them."""
    for module in (kbs, entries, bulk, links, search, index):
        app.register_blueprint(module.blueprint, url_prefix="/api")

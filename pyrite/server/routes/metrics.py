"""``GET /metrics``: the numbers of this process and of its database, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder
from quart import Response, current_app, request
from quart_trio import QuartTrio

from pyrite.auth.tokens import Tier
from pyrite.server.current import KEY, server
from pyrite.server.feed.websocket import CLIENTS, Clients
from pyrite.server.metrics import Scrape
from pyrite.server.middleware.request_log import RequestRecord, listen
from pyrite.server.middleware.security import requires

if TYPE_CHECKING:
    from pyrite.server.process import ServerProcess


def install(app: QuartTrio) -> None:
    """Observe requests, and serve ``GET /metrics``."""

    def observe(record: RequestRecord) -> None:
        # A lifespan may end, or fail, before there is one.
        served: ServerProcess | None = app.extensions.get(KEY)
        if served is not None:
            served.metrics.answered(record)

    listen(app, observe)
    app.add_url_rule("/metrics", "metrics", _metrics, methods=["GET"])


@requires(Tier.READ)
async def _metrics() -> Response:
    """The metrics in the form that the scraper prefers."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = await server().run_sync(encode, scrape(server(), current_app.extensions[CLIENTS]))
    return current_app.response_class(body, content_type=content_type)


def scrape(served: ServerProcess, clients: Clients) -> Scrape:
    """What a process has to tell now; to be called on the Trio thread, and collected off it."""
    return Scrape(
        storage=served.storage,
        model=served.settings.model,
        database=served.settings.database_path,
        now=served.clock(),
        leads=served.leads,
        worker=served.worker_state(),
        clients=len(clients.connected),
        drops=clients.dropped,
        last_event=served.feed.last,
        observed=served.metrics.registry,
    )

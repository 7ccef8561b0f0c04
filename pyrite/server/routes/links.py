"""``/api/kbs/{kb}/links`` and ``/api/kbs/{kb}/dangling-links``: what leads where."""

from __future__ import annotations

from quart import Blueprint, Response

from pyrite.api import found as api
from pyrite.api.parameters import PageParameters
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.server.current import server
from pyrite.server.openapi.operations import NEXT, operation, reply
from pyrite.server.routes.entries import TAG, next_page

blueprint = Blueprint("links", __name__)


@blueprint.get("/kbs/<kb>/links/<path:id>")
@requires(Tier.READ)
@operation(TAG, api.Links, problems=(404,))
async def list_links(kb: str, id: str) -> Response:  # noqa: A002 - what it is called in the address
    """Show what an entry links to, and what links to it.

    A link that several entries could be meant by is `ambiguous`; one that none answers to is
    `dangling`.
    """
    return reply(api.links(await server().run_sync(server().services.links.of, kb, id)))


@blueprint.get("/kbs/<kb>/dangling-links")
@requires(Tier.READ)
@operation(TAG, api.DanglingLinks, sends=NEXT, problems=(404, 422), query=PageParameters)
async def list_dangling_links(kb: str, *, query_args: PageParameters) -> Response:
    """List the links that lead nowhere.

    By the entry that they are in. `Link` leads to the next page.
    """
    links, limit, offset = server().services.links, query_args.limit, query_args.offset
    found = await server().run_sync(lambda: links.dangling([kb], limit=limit + 1, offset=offset))
    page = api.dangling_links(found, limit)
    return reply(page, headers={"Link": next_page(offset + limit)} if page.more else None)

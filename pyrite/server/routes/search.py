"""``/api/search`` and ``/api/kbs/{kb}/related``: finding entries."""

from __future__ import annotations

from dataclasses import replace

from quart import Blueprint, Response

from pyrite.api import found as api
from pyrite.api.parameters import RelatedParameters, SearchParameters
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.search.query import Mode
from pyrite.search.related import RelatedResult
from pyrite.search.related import related as find_related
from pyrite.server.current import server
from pyrite.server.openapi.operations import operation, reply

TAG = "search"

#: In place of a warning, which may name paths.
_WARNING = "searched by words alone: the embedding model cannot be used"

blueprint = Blueprint("search", __name__)


@blueprint.get("/search")
@requires(Tier.READ)
@operation(TAG, api.SearchResult, problems=(404, 422), query=SearchParameters)
async def search(*, query_args: SearchParameters) -> Response:
    """Find entries by meaning and by words.

    `freshness` says what could not be searched by meaning, because it is still to be embedded.
    With `wait_for`, the answer waits until the write of that revision can be; `waited` says
    what came of it.
    """
    served, request = server(), query_args.request(query_args.kb)
    await served.run_sync(served.kbs.check_filters, request.filters)
    waited = None
    if request.wait_for is not None and request.mode is not Mode.KEYWORD:
        waited = await served.wait(request.wait_for, request.timeout_s)
    result = await served.run_search(served.search.search, replace(request, wait_for=None))
    return reply(api.search_result(replace(result, waited=waited), lambda _: _WARNING))


@blueprint.get("/kbs/<kb>/related/<path:id>")
@requires(Tier.READ)
@operation(TAG, api.RelatedResult, problems=(404, 422), query=RelatedParameters)
async def list_related(
    kb: str,
    id: str,  # noqa: A002 - what it is called in the address
    *,
    query_args: RelatedParameters,
) -> Response:
    """Find the entries that are about the same as one.

    Two entries are near if some of their passages are. The parameters say which entries may be
    found; no model is used.
    """
    served, filters = server(), query_args.filters(query_args.kbs)

    def find() -> RelatedResult:
        served.kbs.check_filters(filters)
        stored = served.kbs.get_entry(kb, id)
        key = stored.kb, stored.entry.id
        nearest = served.search.nearest_entries()
        return find_related(served.storage, nearest, key, filters, query_args.limit)

    return reply(api.related_result(await served.run_search(find)))

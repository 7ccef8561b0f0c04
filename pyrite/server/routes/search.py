"""``/api/search`` and ``/api/kbs/{kb}/related``: finding entries."""

from __future__ import annotations

from dataclasses import replace

import trio
from quart import Blueprint, Response

from actors.lifecycle import Status
from pyrite.api import found as api
from pyrite.api.parameters import RelatedParameters, SearchParameters
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.search.freshness import Waited, check_revision, outcome_of
from pyrite.search.query import Mode
from pyrite.search.related import RelatedResult
from pyrite.search.related import related as find_related
from pyrite.server.current import node
from pyrite.server.openapi.operations import operation, reply

TAG = "search"

#: How often who waits for a write asks whether anything has been committed, in seconds. That
#: costs a comparison; only after a commit is the database asked.
_LOOK_S = 0.01

#: The database is asked at least so often, in seconds.
_ASK_S = 1.0

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
    served, request = node(), query_args.request(query_args.kb)
    await served.run_sync(served.kbs.check_filters, request.filters)
    waited = None
    if request.wait_for is not None and request.mode is not Mode.KEYWORD:
        waited = await _wait(request.wait_for, request.timeout_s)
    result = await served.run_search(served.search.search, replace(request, wait_for=None))
    return reply(api.search_result(replace(result, waited=waited), lambda _: _WARNING))


async def _wait(revision: int, timeout_s: float) -> Waited:
    """Wait until a write can be found by meaning; occupies no thread.

    Raises:
        NotFoundError: there has been no such write.
    """
    served = node()
    check_revision(revision)

    def revision_status() -> Status | None:
        return served.storage.revision_status(revision, served.search.model_id)

    started = trio.current_time()
    while True:
        seen, asked = served.feed.last, trio.current_time()
        status = await served.run_sync(revision_status)
        waited = trio.current_time() - started
        outcome = outcome_of(status, waited, timeout_s)
        if outcome is not None:
            return Waited(revision, outcome, waited)
        until = min(started + timeout_s, asked + _ASK_S)
        while served.feed.last == seen and trio.current_time() < until:  # noqa: ASYNC110 - a number
            await trio.sleep(min(_LOOK_S, max(0.0, until - trio.current_time())))


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
    served, filters = node(), query_args.filters(query_args.kbs)

    def find() -> RelatedResult:
        served.kbs.check_filters(filters)
        stored = served.kbs.get_entry(kb, id)
        key = stored.kb, stored.entry.id
        neighbourhood = served.search.neighbourhood()
        return find_related(served.storage, neighbourhood, key, filters, query_args.limit)

    return reply(api.related_result(await served.run_search(find)))

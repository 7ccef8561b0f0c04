"""``/api/kbs/{kb}/entries/bulk``: many new entries at once."""

from __future__ import annotations

import trio
from quart import Blueprint, Response

from pyrite.api import entries
from pyrite.api.parameters import NewEntries
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.server.current import server
from pyrite.server.openapi.operations import operation, reply
from pyrite.server.routes.entries import TAG

#: Such requests in work at a time; the others wait, so that files and threads last.
_AT_A_TIME = 4

blueprint = Blueprint("bulk", __name__)
_turns = trio.Semaphore(_AT_A_TIME)


@blueprint.post("/kbs/<kb>/entries/bulk")
@requires(Tier.WRITE)
@operation(TAG, entries.BulkResults, problems=(404, 422), body=NewEntries)
async def create_entries(kb: str, *, data: NewEntries) -> Response:
    """Create up to 1,000 entries.

    Each is as durable as one that is created alone. One that cannot be created keeps no other
    from it. They are embedded after whatever somebody waits for. Sent again, the request
    creates what is still missing.
    """
    served = server()
    drafts = [entry.draft(entry.id) for entry in data.entries]
    async with _turns:
        creations = await served.run_sync(served.kbs.create_entries, kb, drafts)
    return reply(entries.bulk_results(creations))

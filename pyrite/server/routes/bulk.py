"""``/api/kbs/{kb}/entries/bulk``: many new entries at once."""

from __future__ import annotations

import trio
from quart import Blueprint, Response

from pyrite.api import answers
from pyrite.api.parameters import NewEntries
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.knowledge.bulk import BulkStatus, Creation
from pyrite.server.current import server
from pyrite.server.openapi import examples
from pyrite.server.openapi.operations import Operation, ResponseDescription, operation, reply
from pyrite.server.routes.entries import TAG

#: Such requests in work at a time; the others wait, so that files and threads last.
_AT_A_TIME = 4

blueprint = Blueprint("bulk", __name__)
_turns = trio.Semaphore(_AT_A_TIME)


@blueprint.post("/kbs/<kb>/entries/bulk")
@requires(Tier.WRITE)
@operation(
    Operation(
        "create_entries",
        TAG,
        {
            200: ResponseDescription(
                "What became of each.",
                answers.BulkResults,
                example={
                    "created": 1,
                    "results": [
                        {
                            "status": "created",
                            "id": "ops/backups",
                            "revision": 18,
                            "embedding": "pending",
                            "error": None,
                        },
                        {
                            "status": "exists",
                            "id": "ops/restore",
                            "revision": None,
                            "embedding": None,
                            "error": "the entry 'ops/restore' exists already in 'notes'",
                        },
                    ],
                },
            )
        },
        problems=(404, 422),
        body=NewEntries,
        body_example={"entries": [{"id": "ops/backups", **examples.TEXT}]},
    )
)
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
    created = sum(creation.status is BulkStatus.CREATED for creation in creations)
    return reply({"created": created, "results": [_as_dict(each) for each in creations]})


def _as_dict(creation: Creation) -> dict[str, object]:
    return {
        "status": creation.status.value,
        "id": creation.id,
        "revision": creation.revision,
        "embedding": "pending" if creation.status is BulkStatus.CREATED else None,
        "error": None if creation.error is None else creation.error.public,
    }

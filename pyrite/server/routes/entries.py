"""``/api/kbs/{kb}/entries``: entries, one at a time; many at once are in :mod:`.bulk`."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from quart import Blueprint, Response, request
from werkzeug.datastructures import ETags

from pyrite.api import entries
from pyrite.api.base import plain
from pyrite.api.parameters import EntryPatch, EntryText, ListParameters, NewEntry
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.errors import NotFoundError
from pyrite.knowledge.replacing import merging, replacing
from pyrite.knowledge.service import KBService, WriteResult
from pyrite.server.current import server
from pyrite.server.openapi.operations import (
    ETAG,
    JSON,
    LOCATION,
    MERGE_PATCH,
    NEXT,
    nothing,
    operation,
    reply,
)
from pyrite.server.routes import preconditions
from pyrite.server.routes.preconditions import etag
from pyrite.storage.records import StoredEntry
from pyrite.vault.entry_files import Editor

TAG = "entries"

_IF_MATCH = {"If-Match": "The ETag of the revision that is to be changed; `*` means any."}

blueprint = Blueprint("entries", __name__)


@blueprint.get("/kbs/<kb>/entries")
@requires(Tier.READ)
@operation(TAG, entries.Entries, sends=NEXT, problems=(404, 422), query=ListParameters)
async def list_entries(kb: str, *, query_args: ListParameters) -> Response:
    """List entries, without their bodies.

    In order of their ids, and narrowed by type, tag, day and field. `Link` leads to the next
    page. An entry that is added or deleted meanwhile moves those behind it by one.
    """
    served, filters = server(), query_args.filters([kb])
    limit, offset = query_args.limit, query_args.offset
    found = await served.run_sync(
        lambda: served.kbs.list_entries(filters, limit=limit + 1, offset=offset)
    )
    page = entries.page(map(entries.listed, found), limit)
    return reply(page, headers={"Link": next_page(offset + limit)} if page.more else None)


def next_page(offset: int) -> str:
    """A link to the same list from another place on."""
    args = request.args.copy()
    args["offset"] = str(offset)
    pairs = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in args.items(multi=True)
    )
    return f'<{quote(request.path)}?{pairs}>; rel="next"'


@blueprint.post("/kbs/<kb>/entries")
@requires(Tier.WRITE)
@operation(
    TAG,
    {201: entries.Written},
    sends=LOCATION | ETAG,
    problems=(404, 409, 422),
    body=NewEntry,
)
async def create_entry(kb: str, *, data: NewEntry) -> Response:
    """Create an entry.

    A Markdown file with front matter is written, indexed and queued. It can be found by its
    words at once, and by its meaning as soon as `embedding` is `done`: wait for that with
    `GET /api/search?wait_for=REVISION`, or follow `/ws`.
    """
    served = server()
    result = await served.run_sync(served.kbs.create_entry, kb, data.draft(data.id))
    return _written(result, created=True)


@blueprint.get("/kbs/<kb>/entries/<path:id>")
@requires(Tier.READ)
@operation(
    TAG,
    {200: entries.Entry, 304: None},
    sends=ETAG,
    problems=(404,),
    headers={"If-None-Match": "An ETag: answer only if the entry is at another revision."},
)
async def get_entry(kb: str, id: str) -> Response:  # noqa: A002 - what it is called in the address
    """Show an entry.

    Its ETag is its revision, which moves with its text. Where its embedding stands is no part
    of that.
    """
    served = server()
    stored = await served.run_sync(served.kbs.get_entry, kb, id)
    headers = {"ETag": etag(stored.revision)}
    if _given("If-None-Match") and preconditions.names_revision(
        request.if_none_match, stored.revision
    ):
        return nothing(HTTPStatus.NOT_MODIFIED, headers)
    return reply(entries.entry(stored), headers=headers)


@blueprint.put("/kbs/<kb>/entries/<path:id>")
@requires(Tier.WRITE)
@operation(
    TAG,
    {200: entries.Written, 201: entries.Written},
    sends=LOCATION | ETAG,
    problems=(404, 409, 412, 422, 428),
    body=EntryText,
    headers={
        "If-Match": "The ETag of the revision that is to be replaced; `*` means any. An entry "
        "that is there is not replaced without it.",
        "If-None-Match": "`*`: only if there is no such entry.",
    },
)
async def put_entry(kb: str, id: str, *, data: EntryText) -> Response:  # noqa: A002
    """Replace an entry as a whole, or create it.

    What the body does not name becomes empty. In the file, whatever says the same already
    keeps its bytes. Without `If-Match` nothing that is there is replaced: 428.
    """
    served = server()
    match, none = _if_match(), request.if_none_match if _given("If-None-Match") else None

    def put() -> tuple[WriteResult, bool]:
        present = _find(served.kbs, kb, id)
        if present is None:
            if match is not None:
                raise preconditions.not_there(id)
            return served.kbs.create_entry(kb, data.draft(id)), True
        if none is not None and preconditions.names_revision(none, present.revision):
            raise preconditions.moved_on(present.revision)
        expected = preconditions.expected_revision(match, present.revision)
        edit = replacing(data.draft(id))
        return served.kbs.update_entry(kb, id, edit, expected_revision=expected), False

    result, created = await served.run_sync(put)
    return _written(result, created=created)


@blueprint.patch("/kbs/<kb>/entries/<path:id>")
@requires(Tier.WRITE)
@operation(
    TAG,
    entries.Written,
    sends=ETAG,
    problems=(404, 409, 412, 422, 428),
    body=EntryPatch,
    media_types=(MERGE_PATCH, JSON),
    headers=_IF_MATCH,
)
async def patch_entry(kb: str, id: str, *, data: EntryPatch) -> Response:  # noqa: A002
    """Change parts of an entry.

    A JSON merge patch: what is not named stays as it is, byte for byte, and null removes a
    field. Without `If-Match` nothing is changed: 428.
    """
    served, match = server(), _if_match()
    edit: Editor = merging(plain(data))

    def patch() -> WriteResult:
        present = served.kbs.get_entry(kb, id)
        expected = preconditions.expected_revision(match, present.revision)
        return served.kbs.update_entry(kb, id, edit, expected_revision=expected)

    return _written(await served.run_sync(patch), created=False)


@blueprint.delete("/kbs/<kb>/entries/<path:id>")
@requires(Tier.WRITE)
@operation(TAG, {204: None}, problems=(404, 409, 412, 422, 428), headers=_IF_MATCH)
async def delete_entry(kb: str, id: str) -> Response:  # noqa: A002
    """Delete an entry and its file.

    Without `If-Match` nothing is deleted: 428.
    """
    served, match = server(), _if_match()

    def delete() -> None:
        present = served.kbs.get_entry(kb, id)
        expected = preconditions.expected_revision(match, present.revision)
        served.kbs.delete_entry(kb, id, expected_revision=expected)

    await served.run_sync(delete)
    return nothing()


def _find(kbs: KBService, kb: str, entry_id: str) -> StoredEntry | None:
    """The entry, or None if there is none; the knowledge base has to be there."""
    kbs.kb(kb)
    try:
        return kbs.get_entry(kb, entry_id)
    except NotFoundError:
        return None


def _written(result: WriteResult, *, created: bool) -> Response:
    headers = {"ETag": etag(result.revision)}
    if created:
        headers["Location"] = f"/api/kbs/{quote(result.kb, safe='')}/entries/{quote(result.id)}"
    answer = entries.written(result)
    return reply(answer, HTTPStatus.CREATED if created else HTTPStatus.OK, headers)


def _given(header: str) -> bool:
    return bool(request.headers.get(header, "").strip())


def _if_match() -> ETags | None:
    return preconditions.if_match(request.headers.get("If-Match", ""))

"""``/api/kbs``: knowledge bases."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from quart import Blueprint, Response

from pyrite.api import answers
from pyrite.api.parameters import NewKB
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.embedding.service import coverage
from pyrite.errors import ConflictError, InvalidEntryError
from pyrite.knowledge.service import KBService
from pyrite.server.current import node
from pyrite.server.node import Node
from pyrite.server.openapi.operations import (
    Operation,
    ResponseDescription,
    nothing,
    operation,
    reply,
)
from pyrite.storage.records import KnowledgeBase

TAG = "knowledge bases"

#: Where, in the home, folders are made for knowledge bases that bring none.
FOLDER = "kbs"

blueprint = Blueprint("kbs", __name__)

_KB = {
    "name": "notes",
    "added_at": 1795370000.0,
    "entries": 3,
    "embedded": 2,
    "pending": 1,
    "failed": 0,
    "coverage": 0.6666,
    "unavailable": None,
}


@blueprint.get("/kbs")
@requires(Tier.READ)
@operation(
    Operation(
        "list_kbs",
        TAG,
        {
            200: ResponseDescription(
                "All knowledge bases by name.", answers.KBs, example={"kbs": [_KB]}
            )
        },
    )
)
async def list_kbs() -> Response:
    """List knowledge bases.

    Each with the number of its entries and how many of them are embedded.
    """
    served = node()

    def found() -> list[dict[str, object]]:
        return [_as_dict(kb, served) for kb in served.kbs.kbs()]

    return reply({"kbs": await served.run_sync(found)})


@blueprint.post("/kbs")
@requires(Tier.ADMIN)
@operation(
    Operation(
        "add_kb",
        TAG,
        {
            201: ResponseDescription(
                "It is registered.",
                answers.KB,
                {"Location": "Where it is."},
                example=_KB | {"entries": 0, "embedded": 0, "pending": 0, "coverage": 1.0},
            )
        },
        problems=(409, 422),
        body=NewKB,
        body_example={"name": "notes"},
    )
)
async def add_kb(*, data: NewKB) -> Response:
    """Register a folder as a knowledge base.

    Without a path a folder is made in the server's home. The files of a folder that is there
    already are not touched; `POST /api/index/sync` reads them.
    """
    served = node()

    def added() -> dict[str, object]:
        kb = _add(served.kbs, served.settings.home / FOLDER, data.name, data.path)
        return _as_dict(kb, served)

    answer = await served.run_sync(added)
    return reply(answer, HTTPStatus.CREATED, {"Location": f"/api/kbs/{quote(data.name, safe='')}"})


@blueprint.get("/kbs/<kb>")
@requires(Tier.READ)
@operation(
    Operation(
        "get_kb",
        TAG,
        {200: ResponseDescription("The knowledge base.", answers.KB, example=_KB)},
        problems=(404,),
    )
)
async def get_kb(kb: str) -> Response:
    """Show a knowledge base.

    With the number of its entries and how many of them are embedded.
    """
    served = node()
    return reply(await served.run_sync(lambda: _as_dict(served.kbs.kb(kb), served)))


@blueprint.delete("/kbs/<kb>")
@requires(Tier.ADMIN)
@operation(
    Operation("remove_kb", TAG, {204: ResponseDescription("It is forgotten.")}, problems=(404,)),
)
async def remove_kb(kb: str) -> Response:
    """Forget a knowledge base.

    Its files stay as they are. What the index knows of its entries goes. Their embeddings are
    unused from then on, and are deleted after as many days as the setting `unused_days` says.
    """
    served = node()
    await served.run_sync(served.kbs.remove_kb, kb)
    return nothing()


def _add(kbs: KBService, beside: Path, name: str, path: str | None) -> KnowledgeBase:
    """Register a folder, which is made where none was given."""
    if any(kb.name == name for kb in kbs.kbs()):
        raise ConflictError(f"there is a knowledge base {name!r} already")
    if path is not None:
        if not Path(path).is_absolute():
            raise InvalidEntryError(
                "path must be absolute: it is a folder on the server", field="path"
            )
        return kbs.add_kb(name, Path(path))
    kbs.check_name(name)
    folder = beside / name
    was_there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return kbs.add_kb(name, folder)
    except OSError as error:
        raise InvalidEntryError(
            f"{folder} cannot be made: {error.strerror}",
            public=f"no folder can be made for it: {error.strerror}",
            field="name",
        ) from error
    except ConflictError:
        if not was_there:
            with suppress(OSError):
                folder.rmdir()
        raise


def _as_dict(kb: KnowledgeBase, served: Node) -> dict[str, object]:
    counts = served.embedding.counts(kb.name)
    return {
        "name": kb.name,
        "added_at": kb.added_at,
        "entries": counts.total,
        "embedded": counts.done,
        "pending": counts.unfinished,
        "failed": counts.failed,
        "coverage": coverage(counts),
        "unavailable": served.kbs.unavailable(kb),
    }

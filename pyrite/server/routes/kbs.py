"""``/api/kbs``: knowledge bases."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from quart import Blueprint, Response

from pyrite.api import kbs
from pyrite.api.parameters import NewKB
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.errors import ConflictError, InvalidEntryError
from pyrite.knowledge.service import KBService
from pyrite.server.current import server
from pyrite.server.openapi.operations import LOCATION, nothing, operation, reply
from pyrite.storage.records import KnowledgeBase

TAG = "knowledge bases"

#: Where, in the home, folders are made for knowledge bases that bring none.
FOLDER = "kbs"

blueprint = Blueprint("kbs", __name__)


@blueprint.get("/kbs")
@requires(Tier.READ)
@operation(TAG, kbs.KBs)
async def list_kbs() -> Response:
    """List knowledge bases.

    Each with the number of its entries and how many of them are embedded.
    """
    served = server()

    def found() -> kbs.KBs:
        return kbs.KBs(
            kbs=[kbs.kb(each, served.kbs, served.embedding) for each in served.kbs.kbs()]
        )

    return reply(await served.run_sync(found))


@blueprint.post("/kbs")
@requires(Tier.ADMIN)
@operation(TAG, {201: kbs.KB}, sends=LOCATION, problems=(409, 422), body=NewKB)
async def add_kb(*, data: NewKB) -> Response:
    """Register a folder as a knowledge base.

    Without a path a folder is made in the server's home. The files of a folder that is there
    already are not touched; `POST /api/index/sync` reads them.
    """
    served = server()

    def added() -> kbs.KB:
        kb = _add(served.kbs, served.settings.home / FOLDER, data.name, data.path)
        return kbs.kb(kb, served.kbs, served.embedding)

    answer = await served.run_sync(added)
    return reply(answer, HTTPStatus.CREATED, {"Location": f"/api/kbs/{quote(data.name, safe='')}"})


@blueprint.get("/kbs/<kb>")
@requires(Tier.READ)
@operation(TAG, kbs.KB, problems=(404,))
async def get_kb(kb: str) -> Response:
    """Show a knowledge base.

    With the number of its entries and how many of them are embedded.
    """
    served = server()
    return reply(
        await served.run_sync(lambda: kbs.kb(served.kbs.kb(kb), served.kbs, served.embedding))
    )


@blueprint.delete("/kbs/<kb>")
@requires(Tier.ADMIN)
@operation(TAG, {204: None}, problems=(404,))
async def remove_kb(kb: str) -> Response:
    """Forget a knowledge base.

    Its files stay as they are. What the index knows of its entries goes. Their embeddings are
    unused from then on, and are deleted after as many days as the setting `unused_days` says.
    """
    served = server()
    await served.run_sync(served.kbs.remove_kb, kb)
    return nothing()


def _add(service: KBService, beside: Path, name: str, path: str | None) -> KnowledgeBase:
    """Register a folder, which is made where none was given."""
    if any(kb.name == name for kb in service.kbs()):
        raise ConflictError(f"there is a knowledge base {name!r} already")
    if path is not None:
        if not Path(path).is_absolute():
            raise InvalidEntryError(
                "path must be absolute: it is a folder on the server", field="path"
            )
        return service.add_kb(name, Path(path))
    service.check_name(name)
    folder = beside / name
    was_there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return service.add_kb(name, folder)
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

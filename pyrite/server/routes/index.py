"""``/api/index``: syncing folders, and the queue of what is to be embedded."""

from __future__ import annotations

from http import HTTPStatus

from quart import Blueprint, Response

from pyrite.api import index
from pyrite.api.parameters import FailureParameters, KBParameter, RetryOrder, SyncOrder
from pyrite.api.problems import ProblemError
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.config import file
from pyrite.config.loading import PREFIX
from pyrite.config.redaction import without_paths
from pyrite.embedding.service import EmbedStatus
from pyrite.server.current import server
from pyrite.server.openapi.operations import LOCATION, operation, reply
from pyrite.storage.queue_records import Failure

TAG = "index"

blueprint = Blueprint("index", __name__)


@blueprint.post("/index/sync")
@requires(Tier.WRITE)
@operation(
    TAG,
    {202: index.Job},
    sends=LOCATION,
    problems=(404, 422),
    body=SyncOrder,
    body_required=False,
)
async def start_sync(*, data: SyncOrder) -> Response:
    """Bring the index in step with the folders.

    Files that are new, changed, renamed or deleted are taken note of. A job that does so much
    already is answered instead of a second one.
    """
    job, _ = await server().jobs.start_sync(data.kb, full=data.full)
    return reply(index.job(job), HTTPStatus.ACCEPTED, {"Location": f"/api/index/jobs/{job.job_id}"})


@blueprint.get("/index/jobs")
@requires(Tier.READ)
@operation(TAG, index.Jobs)
async def list_jobs() -> Response:
    """List jobs, newest first.

    Those of all processes; the oldest of very many are forgotten.
    """
    return reply(index.Jobs(jobs=[index.job(job) for job in await server().jobs.jobs()]))


@blueprint.get("/index/jobs/<job_id>")
@requires(Tier.READ)
@operation(TAG, index.Job, problems=(404,))
async def get_job(job_id: str) -> Response:
    """Show how far a job is.

    A job whose process has ended has failed.
    """
    return reply(index.job(await server().jobs.job(job_id)))


@blueprint.get("/index/embed-status")
@requires(Tier.READ)
@operation(TAG, index.EmbedStatus, problems=(404, 422), query=KBParameter)
async def get_embed_status(*, query_args: KBParameter) -> Response:
    """Show where embedding stands.

    How many entries are embedded, pending and failed; which process embeds, how fast, and how
    long it will take.
    """
    served, kb = server(), query_args.kb

    def status() -> EmbedStatus:
        if kb is not None:
            served.kbs.kb(kb)
        return served.embedding.status(kb)

    return reply(index.embed_status(await served.run_sync(status)))


@blueprint.get("/index/embed-failures")
@requires(Tier.READ)
@operation(TAG, index.Failures, problems=(404, 422), query=FailureParameters)
async def list_embed_failures(*, query_args: FailureParameters) -> Response:
    """List the entries that could not be embedded.

    With the reason, newest first. They can still be found by their words.
    """
    served, kb, limit = server(), query_args.kb, query_args.limit

    def failures() -> list[Failure]:
        if kb is not None:
            served.kbs.kb(kb)
        return served.embedding.failures(kb, limit + 1)

    found = await served.run_sync(failures)
    return reply(index.failures(found, without_paths, limit))


@blueprint.post("/index/embed-retry")
@requires(Tier.WRITE)
@operation(TAG, index.Retried, problems=(404, 422), body=RetryOrder, body_required=False)
async def retry_embedding(*, data: RetryOrder) -> Response:
    """Queue failed entries again.

    All of them, those of one knowledge base, or those named; if one of the latter has not
    failed, nothing is queued.
    """
    served = server()

    def retry() -> list[tuple[str, str]]:
        if data.kb is not None:
            served.kbs.kb(data.kb)
        retried = served.embedding.retry_failed(data.kb, data.ids)
        served.wrote()
        return retried

    retried = await served.run_sync(retry)
    return reply(index.Retried(retried=index.names(retried)))


@blueprint.post("/index/pause")
@requires(Tier.ADMIN)
@operation(TAG, index.PauseState, problems=(409,))
async def pause_embedding() -> Response:
    """Pause embedding.

    The worker finishes what it has begun and takes nothing more, after a restart as well, until
    it is resumed. Writes go on, and are found by their words.
    """
    return await _set_paused(paused=True)


@blueprint.post("/index/resume")
@requires(Tier.ADMIN)
@operation(TAG, index.PauseState, problems=(409,))
async def resume_embedding() -> Response:
    """Resume embedding.

    The worker takes what has been queued meanwhile.
    """
    return await _set_paused(paused=False)


async def _set_paused(*, paused: bool) -> Response:
    """Write the setting into the configuration file, which every worker follows."""
    served = server()
    variable = f"{PREFIX}PAUSED"
    if variable in served.environ:
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "Set elsewhere",
            f"the server's environment sets {variable}, which goes before what is set here",
        )
    path = served.settings.config_path
    if paused:
        await served.run_sync(file.set_value, path, "paused", "true")
    else:
        await served.run_sync(file.unset, path, "paused")
    served.wrote()
    return reply(index.PauseState(paused=paused))

"""``/api/index``: syncing folders, and the queue of what is to be embedded."""

from __future__ import annotations

import json
from http import HTTPStatus

from quart import Blueprint, Response

from pyrite.api import index_answers as answers
from pyrite.api.parameters import FailureParameters, KBParameter, RetryOrder, SyncOrder
from pyrite.api.problems import ProblemError
from pyrite.auth.permissions import requires
from pyrite.auth.tokens import Tier
from pyrite.config import file
from pyrite.config.loading import PREFIX
from pyrite.config.redaction import without_paths
from pyrite.embedding.service import EmbedStatus, status_dict
from pyrite.server.current import server
from pyrite.server.openapi import examples
from pyrite.server.openapi.operations import Operation, ResponseDescription, operation, reply
from pyrite.storage.records import Failure, JobRow

TAG = "index"

blueprint = Blueprint("index", __name__)


@blueprint.post("/index/sync")
@requires(Tier.WRITE)
@operation(
    Operation(
        "start_sync",
        TAG,
        {
            202: ResponseDescription(
                "The job that does it.",
                answers.Job,
                {"Location": "Where to ask how far it is."},
                example=examples.JOB,
            )
        },
        problems=(404, 422),
        body=SyncOrder,
        body_required=False,
        body_example={"kb": "notes"},
    )
)
async def start_sync(*, data: SyncOrder) -> Response:
    """Bring the index in step with the folders.

    Files that are new, changed, renamed or deleted are taken note of. A job that does so much
    already is answered instead of a second one.
    """
    job, _ = await server().jobs.start_sync(data.kb, full=data.full)
    return reply(_job(job), HTTPStatus.ACCEPTED, {"Location": f"/api/index/jobs/{job.job_id}"})


@blueprint.get("/index/jobs")
@requires(Tier.READ)
@operation(
    Operation(
        "list_jobs",
        TAG,
        {200: ResponseDescription("The jobs.", answers.Jobs, example={"jobs": [examples.JOB]})},
    )
)
async def list_jobs() -> Response:
    """List jobs, newest first.

    Those of all processes; the oldest of very many are forgotten.
    """
    return reply({"jobs": [_job(job) for job in await server().jobs.jobs()]})


@blueprint.get("/index/jobs/<job_id>")
@requires(Tier.READ)
@operation(
    Operation(
        "get_job",
        TAG,
        {200: ResponseDescription("The job.", answers.Job, example=examples.JOB)},
        problems=(404,),
    )
)
async def get_job(job_id: str) -> Response:
    """Show how far a job is.

    A job whose process has ended has failed.
    """
    return reply(_job(await server().jobs.job(job_id)))


@blueprint.get("/index/embed-status")
@requires(Tier.READ)
@operation(
    Operation(
        "get_embed_status",
        TAG,
        {
            200: ResponseDescription(
                "Where it stands.", answers.EmbedStatus, example=examples.EMBED_STATUS
            )
        },
        problems=(404, 422),
        query=KBParameter,
    )
)
async def embed_status(*, query_args: KBParameter) -> Response:
    """Show where embedding stands.

    How many entries are embedded, pending and failed; which process embeds, how fast, and how
    long it will take.
    """
    served, kb = server(), query_args.kb

    def status() -> EmbedStatus:
        if kb is not None:
            served.kbs.kb(kb)
        return served.embedding.status(kb)

    return reply(status_dict(await served.run_sync(status)))


@blueprint.get("/index/embed-failures")
@requires(Tier.READ)
@operation(
    Operation(
        "list_embed_failures",
        TAG,
        {
            200: ResponseDescription(
                "What has failed.",
                answers.Failures,
                example={"failures": [examples.FAILURE], "more": False},
            )
        },
        problems=(404, 422),
        query=FailureParameters,
    )
)
async def embed_failures(*, query_args: FailureParameters) -> Response:
    """List the entries that could not be embedded.

    With the reason, newest first. They can still be found by their words.
    """
    served, kb, limit = server(), query_args.kb, query_args.limit

    def failures() -> list[Failure]:
        if kb is not None:
            served.kbs.kb(kb)
        return served.embedding.failures(kb, limit + 1)

    found = await served.run_sync(failures)
    return reply(
        {"failures": [_failure(each) for each in found[:limit]], "more": len(found) > limit}
    )


@blueprint.post("/index/embed-retry")
@requires(Tier.WRITE)
@operation(
    Operation(
        "retry_embedding",
        TAG,
        {
            200: ResponseDescription(
                "What is queued again.",
                answers.Retried,
                example={"retried": [{"kb": "notes", "id": "ops/odd"}]},
            )
        },
        problems=(404, 422),
        body=RetryOrder,
        body_required=False,
        body_example={"kb": "notes"},
    )
)
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
    return reply({"retried": [{"kb": kb, "id": entry_id} for kb, entry_id in retried]})


@blueprint.post("/index/pause")
@requires(Tier.ADMIN)
@operation(
    Operation(
        "pause_embedding",
        TAG,
        {200: ResponseDescription("It is paused.", answers.PauseState, example={"paused": True})},
        problems=(409,),
    )
)
async def pause_embedding() -> Response:
    """Pause embedding.

    The worker finishes what it has begun and takes nothing more, after a restart as well, until
    it is resumed. Writes go on, and are found by their words.
    """
    return await _set_paused(paused=True)


@blueprint.post("/index/resume")
@requires(Tier.ADMIN)
@operation(
    Operation(
        "resume_embedding",
        TAG,
        {200: ResponseDescription("It goes on.", answers.PauseState, example={"paused": False})},
        problems=(409,),
    )
)
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
    return reply({"paused": paused})


def _job(job: JobRow) -> dict[str, object]:
    return {
        "id": job.job_id,
        "kind": job.kind,
        "kb": job.kb,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "result": None if job.result is None else json.loads(job.result),
        "error": None if job.error is None else without_paths(job.error),
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def _failure(failure: Failure) -> dict[str, object]:
    return {
        "kb": failure.kb,
        "id": failure.entry_id,
        "revision": failure.revision,
        "error": without_paths(failure.error),
        "attempts": failure.attempts,
        "failed_at": failure.failed_at,
    }

"""The index and its queue: syncs, jobs, status, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from actors.messages import WorkerState
from pyrite.api.base import Answer, EntryName, More, Revision, Time, doc
from pyrite.config.redaction import without_paths

if TYPE_CHECKING:
    from pyrite.embedding.service import EmbedStatus as Status
    from pyrite.errors import UnreadableFileError
    from pyrite.storage import queue_records, records
    from pyrite.vault.sync import SyncResult

#: Of files that could not be read, so many are named in a job's result.
_MOST_PROBLEMS = 100

Queued = Annotated[int, doc("Entries that are still to be embedded.")]
EmbedWarning = Annotated[str | None, doc("Why they cannot be found by meaning soon.")]
Reason = Annotated[str | None, doc("Why it is degraded.")]
Number = Annotated[int, Meta(examples=[0])]


class FileProblem(Answer, frozen=True):
    """A file that was skipped."""

    path: Annotated[str, doc("Relative to the folder.")]
    line: int | None
    reason: str


class Renamed(Answer, frozen=True, rename={"from_": "from"}):
    """An entry that has another id now."""

    from_: str
    to: str


class SyncCounts(Answer, frozen=True):
    """How many entries."""

    created: int
    updated: int
    renamed: int
    deleted: int
    problems: int


class FolderSync(Answer, frozen=True):
    """What the sync of one folder found."""

    kb: str
    created: list[str]
    updated: list[str]
    renamed: list[Renamed]
    deleted: list[str]
    unchanged: int
    problems: list[FileProblem]
    counts: (
        Annotated[SyncCounts, doc("Where of long lists only the beginning is told.")] | UnsetType
    ) = UNSET


class FolderSyncs(Answer, frozen=True):
    """What a sync found."""

    kbs: list[FolderSync]
    errors: Annotated[list[str], doc("Those that could not be read, and why.")]
    queued: Queued
    warning: EmbedWarning | UnsetType = UNSET


class SyncProblem(Answer, frozen=True):
    """A file that cannot be read as an entry; what the index knew of it stays."""

    id: Annotated[str, doc("The id that it has or would have.", "ops/odd")]
    line: int | None
    reason: str


class KBSync(Answer, frozen=True):
    """How much a sync did with one knowledge base."""

    kb: Annotated[str, Meta(examples=["notes"])]
    created: Number
    updated: Number
    renamed: Number
    deleted: Number
    unchanged: Annotated[int, Meta(examples=[1200])]
    problem_count: Annotated[int, doc("Files that cannot be read.", 1)]
    problems: Annotated[list[SyncProblem], doc(f"The first {_MOST_PROBLEMS} of them.")]


class JobResult(Answer, frozen=True):
    """How much a sync did."""

    kbs: list[KBSync]
    errors: Annotated[list[str], doc("Knowledge bases whose folder is not there.", [])]


class Job(Answer, frozen=True):
    """Long work that was asked for, and how far it is."""

    id: Annotated[str, Meta(examples=["9f2c4e61a7b3d058"])]
    kind: Literal["sync"]
    kb: Annotated[str | None, doc("Of one knowledge base, or of all.", "notes")]
    state: Annotated[Literal["running", "done", "failed"], Meta(examples=["running"])]
    done: Annotated[int, doc("Changed files dealt with.", 200)]
    total: Annotated[int | None, doc("Changed files, as far as is known yet.", 1200)]
    result: JobResult | None
    error: str | None
    created_at: Time
    updated_at: Time


class Jobs(Answer, frozen=True):
    """Those that are remembered, newest first."""

    jobs: list[Job]


class LastError(EntryName, frozen=True):
    """The newest error that no success has followed."""

    error: str
    at: Time


class Worker(Answer, frozen=True):
    """The process that embeds."""

    worker_id: Annotated[str, Meta(examples=["5b1e0c9d2f7a4836"])]
    pid: Annotated[int, Meta(examples=[4242])]
    host: Annotated[str, Meta(examples=["example"])]
    process_started: str | None
    started_at: Annotated[float, Meta(examples=[1795360000.0])]
    heartbeat_at: Annotated[float, Meta(examples=[1795370001.0])]
    state: Annotated[WorkerState, Meta(examples=["encoding"])]
    reason: Reason
    model: Annotated[str, Meta(examples=["all-MiniLM-L6-v2"])]
    tokens_per_s: Annotated[float, Meta(examples=[9800.0])]
    characters_per_s: Annotated[float, Meta(examples=[41000.0])]
    kb: Annotated[str | None, doc("The one knowledge base that it embeds, or all.")]


class EmbedStatus(Answer, frozen=True):
    """Where the embedding of the knowledge bases stands."""

    pending: Annotated[int, Meta(examples=[12])]
    processing: Annotated[int, Meta(examples=[10])]
    done: Annotated[int, Meta(examples=[978])]
    failed: Annotated[int, Meta(examples=[0])]
    total: Annotated[int, Meta(examples=[1000])]
    coverage: Annotated[float, doc("The share that is embedded, rounded down.", 0.978, ge=0, le=1)]
    oldest_pending_age_s: Annotated[float | None, Meta(examples=[1.2])]
    last_error: LastError | None
    model: Annotated[str, Meta(examples=["all-MiniLM-L6-v2"])]
    worker: Annotated[
        Worker | None, doc("Null where none is running; then a write is embedded at once.")
    ]
    tokens_per_s: Annotated[float, Meta(examples=[9800.0])]
    time_left_s: Annotated[float | None, Meta(examples=[0.4])]


class Failure(EntryName, frozen=True):
    """An entry that could not be embedded."""

    revision: Revision
    error: Annotated[str, Meta(examples=["the model refused this text"])]
    attempts: Annotated[int, Meta(examples=[3])]
    failed_at: Time


class Failures(Answer, frozen=True):
    """Entries that could not be embedded, newest first."""

    failures: list[Failure]
    more: More


class Retried(Answer, frozen=True):
    """Entries that were queued again."""

    retried: list[EntryName]
    queued: Queued | UnsetType = UNSET
    warning: EmbedWarning | UnsetType = UNSET


class PauseState(Answer, frozen=True):
    """Whether embedding is paused."""

    paused: bool


class EmbedRun(Answer, frozen=True):
    """What `index embed` did."""

    embedded: Annotated[int, doc("Entries that became searchable meanwhile.")]
    failed: list[Failure]
    unfinished: int
    seconds: float
    stopped_by: Annotated[str | None, doc("The signal that did.")]
    followed: Annotated[int | None, doc("The process that embedded them.")]


def embed_status(status: Status) -> EmbedStatus:
    """Where embedding stands; no path of this computer is in it."""
    from pyrite.embedding.service import model_name  # noqa: PLC0415

    worker, error = status.worker, status.last_error
    return EmbedStatus(
        **asdict(status.counts),
        total=status.counts.total,
        coverage=status.coverage,
        oldest_pending_age_s=status.oldest_pending_age_s,
        last_error=None
        if error is None
        else LastError(
            kb=error.kb, id=error.entry_id, error=without_paths(error.error), at=error.at
        ),
        model=model_name(status.model),
        worker=None
        if worker is None
        else msgspec.convert(
            asdict(worker)
            | {
                "model": model_name(worker.model),
                "reason": None if worker.reason is None else without_paths(worker.reason),
            },
            Worker,
        ),
        tokens_per_s=0.0 if worker is None else worker.tokens_per_s,
        time_left_s=status.time_left_s,
    )


def failures(
    found: list[queue_records.Failure], redact: Callable[[str], str], limit: int | None = None
) -> Failures:
    """Entries that could not be embedded.

    Args:
        found: them.
        redact: what becomes of a reason, which may name paths.
        limit: how many to tell of.
    """
    return Failures(
        failures=[
            Failure(
                kb=each.kb,
                id=each.entry_id,
                revision=each.revision,
                error=redact(each.error),
                attempts=each.attempts,
                failed_at=each.failed_at,
            )
            for each in found[:limit]
        ],
        more=limit is not None and len(found) > limit,
    )


def names(keys: Iterable[tuple[str, str]]) -> list[EntryName]:
    """Which entries."""
    return [EntryName(kb=kb, id=entry_id) for kb, entry_id in keys]


def problems(found: Iterable[UnreadableFileError]) -> list[FileProblem]:
    """Files that were skipped."""
    return [FileProblem(path=each.path, line=each.line, reason=each.reason) for each in found]


def folder_sync(result: SyncResult, most: int | None = None) -> FolderSync:
    """What a sync found; of long lists the beginning, and then with the counts."""
    return FolderSync(
        kb=result.kb,
        created=result.created[:most],
        updated=result.updated[:most],
        renamed=[Renamed(from_=old, to=new) for old, new in result.renamed[:most]],
        deleted=result.deleted[:most],
        unchanged=result.unchanged,
        problems=problems(result.problems[:most]),
        counts=UNSET
        if most is None
        else SyncCounts(
            created=len(result.created),
            updated=len(result.updated),
            renamed=len(result.renamed),
            deleted=len(result.deleted),
            problems=len(result.problems),
        ),
    )


def job_result(results: Iterable[SyncResult], missing: list[str]) -> JobResult:
    """How much a sync did, without paths: a file is called by the id that it has or would have."""
    from pyrite.markdown.ids import entry_id  # noqa: PLC0415

    return JobResult(
        kbs=[
            KBSync(
                kb=result.kb,
                created=len(result.created),
                updated=len(result.updated),
                renamed=len(result.renamed),
                deleted=len(result.deleted),
                unchanged=result.unchanged,
                problem_count=len(result.problems),
                problems=[
                    SyncProblem(
                        id=entry_id(each.path), line=each.line, reason=without_paths(each.reason)
                    )
                    for each in result.problems[:_MOST_PROBLEMS]
                ],
            )
            for result in results
        ],
        errors=missing,
    )


def job(row: records.JobRow) -> Job:
    """Long work that was asked for, and how far it is."""
    known = asdict(row) | {
        "id": row.job_id,
        "result": None if row.result is None else msgspec.json.decode(row.result, type=JobResult),
        "error": None if row.error is None else without_paths(row.error),
    }
    return Job(**{name: known[name] for name in Job.__struct_fields__})

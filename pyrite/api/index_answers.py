"""What the server answers of jobs and of the queue, described."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pyrite.api.answers import Answer, EntryId, KBName, Revision, Time


class SyncProblem(Answer):
    """A file that cannot be read as an entry; what the index knew of it stays."""

    id: str = Field(description="The id that it has or would have.")
    line: int | None
    reason: str


class KBSync(Answer):
    """What a sync did with one knowledge base."""

    kb: KBName
    created: int
    updated: int
    renamed: int
    deleted: int
    unchanged: int
    problem_count: int = Field(description="Files that cannot be read.")
    problems: list[SyncProblem] = Field(description="The first hundred of them.")


class SyncResult(Answer):
    """What a sync did."""

    kbs: list[KBSync]
    errors: list[str] = Field(description="Knowledge bases whose folder is not there.")


class Job(Answer):
    """Long work that was asked for, and how far it is."""

    id: str
    kind: Literal["sync"]
    kb: str | None = Field(description="Of one knowledge base, or of all.")
    state: Literal["running", "done", "failed"]
    done: int = Field(description="Changed files dealt with.")
    total: int | None = Field(description="Changed files, as far as is known yet.")
    result: SyncResult | None
    error: str | None
    created_at: Time
    updated_at: Time


class Jobs(Answer):
    """Those that are remembered, newest first."""

    jobs: list[Job]


class LastError(Answer):
    """The newest error that no success has followed."""

    kb: KBName
    id: EntryId
    error: str
    at: Time


class Worker(Answer):
    """The process that embeds."""

    worker_id: str
    pid: int
    host: str
    process_started: str | None
    started_at: Time
    heartbeat_at: Time
    state: str
    reason: str | None
    model: str
    tokens_per_s: float
    characters_per_s: float
    kb: str | None


class EmbedStatus(Answer):
    """Where the embedding of the knowledge bases stands."""

    pending: int
    processing: int
    done: int
    failed: int
    total: int
    coverage: float = Field(ge=0, le=1)
    oldest_pending_age_s: float | None
    last_error: LastError | None
    model: str
    worker: Worker | None = Field(description="None where nothing embeds.")
    tokens_per_s: float
    time_left_s: float | None


class Failure(Answer):
    """An entry that could not be embedded."""

    kb: KBName
    id: EntryId
    revision: Revision
    error: str
    attempts: int
    failed_at: Time


class Failures(Answer):
    """Entries that could not be embedded, newest first."""

    failures: list[Failure]
    more: bool


class Named(Answer):
    """An entry's name."""

    kb: KBName
    id: EntryId


class Retried(Answer):
    """Entries that were queued again."""

    retried: list[Named]


class PauseState(Answer):
    """Whether embedding is paused."""

    paused: bool

"""Fakes of what the pipeline needs from outside: a queue, an encoder, and ways off the loop.

The queue is an honest one: its rows live by :mod:`actors.lifecycle`, claims are leases with
tokens, and every ending is guarded. None of the hops uses a thread, because a mock clock that
jumps by itself would fire time-outs while a thread runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.lifecycle import (
    Claimed as ClaimedByWorker,
)
from actors.lifecycle import (
    LeaseExpired,
    Occurrence,
    Released,
    Retried,
    RetryPolicy,
    Status,
    Written,
    after,
)
from actors.messages import Chunk, Claim, Encoded, Event, Piece, Span, Statistics
from actors.ports import Claimed, EncoderUnavailableError, Ending, Settled

INTERACTIVE, BULK = 0, 1

# What the actors pass on


def chunk(text: str, tokens: int = 4) -> Chunk:
    """A chunk whose digest is its text."""
    return Chunk(text.encode(), text, tokens)


def claim(
    entry_id: str,
    *texts: str,
    token: str | None = None,
    attempt: int = 1,
    priority: int = BULK,
    tokens: int = 4,
) -> Claim:
    """A claim that has these texts to be encoded; one without texts is ready."""
    missing = tuple(chunk(text, tokens) for text in dict.fromkeys(texts))
    return Claim(
        kb="kb",
        entry_id=entry_id,
        revision=1,
        token=token or f"token of {entry_id}",
        attempt=attempt,
        queued_at=0.0,
        priority=priority,
        layout=tuple(Span(text.encode(), 0, len(text)) for text in texts),
        missing=missing,
    )


def pieces(*claims: Claim) -> tuple[Piece, ...]:
    """All chunks of these claims."""
    return tuple(Piece(c, missing) for c in claims for missing in c.missing)


def vector_of(text: str) -> Any:
    """The embedding that the fake encoder makes of a text; the actors only carry it."""
    return ("vector", text)


def encoded(*claims: Claim) -> tuple[Encoded, ...]:
    """All chunks of these claims, with their embeddings."""
    return tuple(Encoded(piece, vector_of(piece.chunk.text)) for piece in pieces(*claims))


def event(seq: int) -> Event:
    """An event that is told from others by its number."""
    return Event(seq, "embedded", "kb", f"e{seq}", 1, 0.0)


# The queue


@dataclass
class Row:
    """One entry's row of the queue, with the texts of its present revision."""

    entry_id: str
    texts: tuple[str, ...]
    revision: int
    priority: int
    queued_at: float
    status: Status = Status.PENDING
    attempts: int = 0
    available_at: float | None = None
    error: str | None = None
    token: str | None = None
    lease_expires_at: float | None = None

    def due_at(self) -> float:
        """When it can be claimed or rescued; infinite if it never will be."""
        if self.status is Status.PENDING:
            return -math.inf if self.available_at is None else self.available_at
        if self.status is Status.PROCESSING:
            assert self.lease_expires_at is not None
            return self.lease_expires_at
        return math.inf


class FakeTable:
    """The rows, the stored embeddings and the feed, which several workers may share."""

    def __init__(self, clock: Callable[[], float], policy: RetryPolicy = RetryPolicy()) -> None:
        self.clock = clock
        self.policy = policy
        self.rows: dict[str, Row] = {}
        #: Embeddings by the digest of their text.
        self.stored: dict[bytes, Any] = {}
        self.feed: list[Event] = []
        #: Number of commits so far, whoever made them.
        self.version = 0
        self._revision = 0
        self._token = 0

    def write(self, entry_id: str, *texts: str, priority: int = BULK) -> Row:
        """Create or change an entry; without texts it has one that is equal to its id."""
        self._revision += 1
        self.version += 1
        old = self.rows.get(entry_id)
        row = Row(entry_id, texts or (entry_id,), self._revision, priority, queued_at=self.clock())
        if old is not None:
            row.status, row.attempts = old.status, old.attempts
        self.befall(row, Written())
        self.rows[entry_id] = row
        return row

    def retry(self, entry_id: str) -> None:
        """Queue a failed entry again."""
        self.version += 1
        self.befall(self.rows[entry_id], Retried())

    def befall(self, row: Row, occurrence: Occurrence) -> None:
        """Let the lifecycle say what the row becomes."""
        transition = after(
            row.status, row.attempts, occurrence, now=self.clock(), policy=self.policy
        )
        row.token = row.lease_expires_at = None
        row.status, row.attempts = transition.status, transition.attempts
        row.available_at, row.error = transition.available_at, transition.error

    def new_token(self) -> str:
        """A token that no claim had before."""
        self._token += 1
        return f"token {self._token}"

    def held(self, claim: Claim) -> Row | None:
        """The row of a claim that is still held."""
        row = self.rows.get(claim.entry_id)
        return row if row is not None and row.token == claim.token else None

    def count(self, status: Status) -> int:
        """How many rows have that status."""
        return sum(row.status is status for row in self.rows.values())

    def entries(self, status: Status) -> set[str]:
        """The ids of the entries with that status."""
        return {row.entry_id for row in self.rows.values() if row.status is status}

    def ends(self) -> Counter[str]:
        """How often each entry was ended, for good or for bad, as the feed tells it."""
        return Counter(e.entry_id for e in self.feed if e.type in {Status.DONE, Status.FAILED})


class FakeQueue:
    """One worker's connection to the table: the pipeline's :class:`actors.ports.Queue`."""

    def __init__(self, table: FakeTable, lease_s: float = 15.0) -> None:
        self.table = table
        self.lease_s = lease_s
        #: Called instead of the method of that name; it may raise, or call the method itself.
        self.fail_points: dict[str, Callable[..., Any]] = {}
        self.released: list[str] = []
        self.beats: list[tuple[float, Statistics]] = []
        self._own_commits = 0
        self._seen = 0

    def changed(self) -> bool:
        """Whether another connection has committed since this was last asked."""
        foreign = self.table.version - self._own_commits
        changed, self._seen = foreign != self._seen, foreign
        return changed

    def claim(self, limit: int, urgent: bool = False) -> Claimed:
        """Rescue what has expired, and claim what is due: most urgent, then oldest, first."""
        if "claim" in self.fail_points:
            self.fail_points["claim"]()
        table, now = self.table, self.table.clock()
        for row in table.rows.values():
            if row.status is Status.PROCESSING and row.due_at() <= now:
                table.befall(row, LeaseExpired())
                self._commit()
        waiting = [row for row in table.rows.values() if row.status is Status.PENDING]
        due = sorted(
            (row for row in waiting if row.due_at() <= now), key=lambda r: (r.priority, r.revision)
        )
        if urgent:
            due = [row for row in due if row.priority == INTERACTIVE]
        claims = tuple(self._claim(row, now) for row in due[:limit])
        if claims:
            self._commit()
        next_due = min((row.due_at() for row in table.rows.values()), default=math.inf)
        return Claimed(
            claims,
            None if next_due == math.inf else next_due - now,
            table.count(Status.PENDING) + table.count(Status.PROCESSING),
        )

    def settle(self, encoded: Sequence[Encoded], endings: Sequence[Ending]) -> Settled:
        """Store embeddings; end those claims that are still held, each with an event."""
        if "settle" in self.fail_points:
            self.fail_points["settle"]()
        table, events, lost = self.table, [], []
        for one in encoded:
            table.stored[one.piece.chunk.digest] = one.vector
        for ending in endings:
            row = table.held(ending.claim)
            if row is None:
                lost.append(ending.claim)
                continue
            if ending.transition.status is Status.DONE:
                assert {text.encode() for text in row.texts} <= table.stored.keys()
            row.token = row.lease_expires_at = None
            row.status, row.attempts = ending.transition.status, ending.transition.attempts
            row.available_at, row.error = ending.transition.available_at, ending.transition.error
            kind, seq = row.status.value, len(table.feed) + 1
            events.append(Event(seq, kind, "kb", row.entry_id, row.revision, table.clock()))
            table.feed.append(events[-1])
        self._commit()
        return Settled(tuple(events), tuple(lost))

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of those that are still held."""
        for row in filter(None, map(self.table.held, claims)):
            row.lease_expires_at = self.table.clock() + self.lease_s

    def release(self, claims: Sequence[Claim]) -> int:
        """Give claims back without charge."""
        if "release" in self.fail_points:
            self.fail_points["release"]()
        held = [row for row in map(self.table.held, claims) if row is not None]
        for row in held:
            self.table.befall(row, Released())
            self.released.append(row.entry_id)
        self._commit()
        return len(held)

    def heartbeat(self, statistics: Statistics) -> None:
        """Note when the worker said what."""
        self.beats.append((self.table.clock(), statistics))

    def _claim(self, row: Row, now: float) -> Claim:
        self.table.befall(row, ClaimedByWorker())
        row.token = self.table.new_token()
        row.lease_expires_at = now + self.lease_s
        missing = dict.fromkeys(t for t in row.texts if t.encode() not in self.table.stored)
        return Claim(
            kb="kb",
            entry_id=row.entry_id,
            revision=row.revision,
            token=row.token,
            attempt=row.attempts,
            queued_at=row.queued_at,
            priority=row.priority,
            layout=tuple(Span(text.encode(), 0, len(text)) for text in row.texts),
            missing=tuple(map(chunk, missing)),
        )

    def _commit(self) -> None:
        self.table.version += 1
        self._own_commits += 1


# The encoder


@dataclass
class ScriptedEncoder:
    """Encodes whatever it was not told to fail at."""

    ready: bool = True
    #: Texts that fail every call they are part of, and how.
    poison: dict[str, Exception] = field(default_factory=dict)
    #: How often a poison text fails alone before it is cured; for ever if it is not here.
    cured_after: dict[str, int] = field(default_factory=dict)
    #: How many more loads, and how many more encode calls, find the model away.
    loads_away: float = 0
    encodes_away: float = 0
    #: How many calls at a time it does well with.
    concurrency: int = 1
    #: Texts of each call, how often a load was tried, and when it was unloaded.
    calls: list[tuple[str, ...]] = field(default_factory=list)
    loads: int = 0
    unloads: list[float] = field(default_factory=list)

    def load(self) -> None:
        """Become ready, unless the script says otherwise."""
        self.loads += 1
        if self.loads_away > 0:
            self.loads_away -= 1
            raise EncoderUnavailableError("no model in the cupboard")
        self.ready = True

    def unload(self) -> None:
        """Forget the model, and note when."""
        self.ready = False
        self.unloads.append(trio.current_time())

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """One vector for each text, unless the script says otherwise."""
        self.calls.append(tuple(texts))
        if self.encodes_away > 0:
            self.encodes_away -= 1
            raise EncoderUnavailableError("the model has left")
        for text in texts:
            if text in self.poison and self.cured_after.get(text, math.inf) > 0:
                if len(texts) == 1:
                    self.cured_after[text] = self.cured_after.get(text, math.inf) - 1  # type: ignore[assignment]
                raise self.poison[text]
        return [vector_of(text) for text in texts]

    def encoded(self) -> list[str]:
        """Every text of every call, in order."""
        return [text for call in self.calls for text in call]


# Ways off the loop


async def inline(
    sync_fn: Callable[..., Any], *args: object, abandon_on_cancel: bool = False
) -> Any:
    """Call the function here and now, after a checkpoint; like a thread it is not cut in two."""
    await trio.lowlevel.checkpoint()
    return sync_fn(*args)


class Slow:
    """A hop that takes some mock time over each call, and can be abandoned like a thread."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds

    async def __call__(
        self, sync_fn: Callable[..., Any], *args: object, abandon_on_cancel: bool = False
    ) -> Any:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=not abandon_on_cancel):
            await trio.sleep(self.seconds)
        return sync_fn(*args)


class Gate:
    """A hop whose calls do their work only when the gate is open."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._entered = trio.Event()

    async def __call__(
        self, sync_fn: Callable[..., Any], *args: object, abandon_on_cancel: bool = False
    ) -> Any:
        await trio.lowlevel.checkpoint()
        self._entered.set()
        with trio.CancelScope(shield=not abandon_on_cancel):
            await self._opened.wait()
        return sync_fn(*args)

    async def wait_entered(self) -> None:
        """Return once a call waits at the gate, or has passed it."""
        await self._entered.wait()

    def open(self) -> None:
        """Let every call pass, now and later."""
        self._opened.set()


def ids(claims: Iterable[Claim]) -> list[str]:
    """The entries of some claims."""
    return [c.entry_id for c in claims]

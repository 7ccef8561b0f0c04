"""The queue by itself: SQLite at ``synchronous=FULL``, with many rows done already."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from actors.lifecycle import RetryPolicy, Status, Transition
from actors.messages import Chunk, Claim, Encoded, Piece, Span
from actors.ports import Ending
from pyrite.markdown.chunks import digest_of
from pyrite.markdown.entry import Entry
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.records import BULK, INTERACTIVE, FileRow, Record
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from tests.bench.report import Table

KB = "bench"
OPERATIONS = (
    "enqueue, one a transaction",
    "enqueue, 100 a transaction",
    "claim and finish, 32 a transaction",
)

#: Rates of the operations, and what else was measured in the round.
Figures: TypeAlias = tuple[float, ...]

DIMENSION = 384
HUNDRED = 100
CLAIMED = 32


def run(folder: Path, quick: bool) -> Sequence[Table]:
    sizes = (0, 1_000) if quick else (0, 100_000, 1_000_000)
    rounds, claims, bare_rows = (1, 10, 500) if quick else (7, 40, 10_000)
    benches = [filled(folder, size) for size in sizes]
    bare = bare_queue(folder / "bare.db")
    # Sizes and yardstick take turns: the machine's speed drifts, their ratios do not.
    figures: list[list[Figures]] = [[] for _ in sizes]
    yardstick: list[Figures] = []
    for turn in range(rounds):
        for bench, rows in zip(benches, figures, strict=True):
            rows.append(bench.round(claims))
        yardstick.append(bare_round(bare, bare_rows, turn))
    table = Table(
        "The queue, a second",
        ("rows done", *OPERATIONS, "status, ms", "the cost of these rows (same columns)"),
        "An enqueue writes the entry's index row and its queue row. A finish writes the "
        f"embedding ({DIMENSION} floats), the chunk, the queue row and the event. Medians of "
        f"{rounds} rounds in which sizes take turns; the cost is the median over rounds of the "
        "time beside that with no rows done.",
    )
    for size, rows in zip(sizes, figures, strict=True):
        cost = [
            statistics.median(none[i] / row[i] for none, row in zip(figures[0], rows, strict=True))
            for i in range(len(OPERATIONS))
        ]
        table.add(size, *medians(rows), ", ".join(f"{each:.2f}" for each in cost))
    compared = Table(
        "For comparison: a bare queue table, a second",
        ("", *OPERATIONS),
        "One table with two indexes and no entry, embedding, chunk, count or event beside it, in "
        "the same rounds: what the product's figures are to be measured against on this machine.",
    )
    compared.add("bare", *medians(yardstick))
    return [table, compared]


def medians(rows: Sequence[Figures]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def filled(folder: Path, size: int) -> Bench:
    storage = SqliteStorage(folder / f"{size}.db")
    storage.add_kb(KB, str(folder / str(size)), now=0.0)
    bench = Bench(storage, first=size)
    fill(storage, size)
    return bench


def bare_queue(path: Path) -> sqlite3.Connection:
    """What this machine's SQLite does with nothing but a queue: the yardstick."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(
        """CREATE TABLE queue (kb TEXT, id TEXT, revision INTEGER, status TEXT, queued_at REAL,
                               token TEXT, lease REAL, PRIMARY KEY (kb, id))"""
    )
    conn.execute("CREATE INDEX ready ON queue (queued_at) WHERE status = 'pending'")
    return conn


def bare_round(conn: sqlite3.Connection, rows: int, turn: int) -> Figures:
    one = bare_enqueue(conn, rows // 4, 1, turn)
    many = bare_enqueue(conn, rows, HUNDRED, turn + 0.5)
    return one, many, bare_finish(conn)


def bare_enqueue(conn: sqlite3.Connection, rows: int, each: int, turn: float) -> float:
    started = time.perf_counter()
    for start in range(0, rows, each):
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany(
            "INSERT INTO queue VALUES (?, ?, ?, 'pending', ?, NULL, NULL)",
            [(KB, f"note-{turn}-{n}", n, time.time()) for n in range(start, start + each)],
        )
        conn.execute("COMMIT")
    return rows / (time.perf_counter() - started)


def bare_finish(conn: sqlite3.Connection) -> float:
    started, finished = time.perf_counter(), 0
    while True:
        conn.execute("BEGIN IMMEDIATE")
        claimed = conn.execute(
            """UPDATE queue SET status = 'processing', token = hex(randomblob(16)), lease = ?
               WHERE rowid IN (SELECT rowid FROM queue WHERE status = 'pending'
                               ORDER BY queued_at LIMIT ?)
               RETURNING kb, id, revision, token""",
            (time.time(), CLAIMED),
        ).fetchall()
        conn.execute("COMMIT")
        if not claimed:
            return finished / (time.perf_counter() - started)
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany(
            """UPDATE queue SET status = 'done', token = NULL, lease = NULL
               WHERE kb = ? AND id = ? AND revision = ? AND token = ?""",
            claimed,
        )
        conn.execute("COMMIT")
        finished += len(claimed)


def record(number: int) -> Record:
    entry = Entry(f"note-{number}", "note", f"Note {number}", "", (), "Some words.\n" * 20, {})
    return Record(KB, entry, FileRow(entry.id, f"{entry.id}.md", b"0" * 16, None))


def fill(storage: SqliteStorage, size: int) -> None:
    """Make that many rows that are done."""
    for start in range(0, size, 10_000):
        with storage.writing() as writing:
            rows = [record(n) for n in range(start, min(size, start + 10_000))]
            writing.upsert(rows, priority=BULK, now=1.0)
            writing.conn.execute(
                "UPDATE embed_queue SET status = 'done', model_id = 1, finished_at = 1.0"
                " WHERE status = 'pending'"
            )


class Bench:
    """One storage under measurement."""

    def __init__(self, storage: SqliteStorage, first: int) -> None:
        self._storage = storage
        self._next = first
        self._model = storage.model("bench", "bench").model_id
        self._vector = np.full(DIMENSION, DIMENSION**-0.5, np.float32)

    def round(self, claims: int) -> Figures:
        """Rates of each operation, and the milliseconds of a status."""
        total = claims * CLAIMED
        singly = total // 4
        hundreds = (total - singly) // HUNDRED
        one = self._enqueue(singly, 1)
        many = self._enqueue(hundreds, HUNDRED)
        started = time.perf_counter()
        self._storage.queue_state()
        status = (time.perf_counter() - started) * 1000
        started = time.perf_counter()
        finished = sum(self._finish(claimed) for claimed in self._claims())
        return one, many, finished / (time.perf_counter() - started), status

    def _enqueue(self, transactions: int, each: int) -> float:
        batches = [[record(self._take()) for _ in range(each)] for _ in range(transactions)]
        started = time.perf_counter()
        for batch in batches:
            with self._storage.writing() as writing:
                writing.upsert(batch, priority=INTERACTIVE, now=time.time())
        return transactions * each / (time.perf_counter() - started)

    def _take(self) -> int:
        self._next += 1
        return self._next

    def _claims(self) -> Iterator[list[Claim]]:
        while True:
            now = time.time()
            request = ClaimRequest("bench", now, 60.0, RetryPolicy(), limit=CLAIMED)
            due = self._storage.claim(request).due
            if not due:
                return
            claims = []
            for each in due:
                digest = digest_of(each.entry_id)
                chunk = Chunk(digest, each.body, 1)
                span = Span(digest, 0, len(each.body))
                claims.append(
                    Claim(each.kb, each.entry_id, each.revision, each.token, each.attempt,
                          each.queued_at, each.priority, (span,), (chunk,))
                )  # fmt: skip
            yield claims

    def _finish(self, claims: list[Claim]) -> int:
        encoded = [Encoded(Piece(c, c.missing[0]), self._vector) for c in claims]
        endings = [Ending(c, Transition(Status.DONE, c.attempt)) for c in claims]
        settled = self._storage.settle(self._model, encoded, endings, now=time.time())
        assert not settled.lost
        return len(claims)

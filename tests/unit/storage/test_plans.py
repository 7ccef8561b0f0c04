"""How SQLite goes about the queries that must stay fast with a million entries done.

Statistics of the tables are never gathered, so plans do not depend on what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pyrite.storage.protocol import Storage
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker, write

Plan = list[str]
Planner = Callable[[Callable[[], object]], dict[str, Plan]]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    with closing(SqliteStorage(tmp_path / "pyrite.db")) as opened:
        opened.add_kb("kb", "/kb", now=0.0)
        yield opened


@pytest.fixture
def plans_of(storage: SqliteStorage) -> Planner:
    """The plans of all statements that a call runs, by statement."""

    def explain(call: Callable[[], object]) -> dict[str, Plan]:
        statements: list[str] = []
        connections = (storage._db._writer, storage._db._reader)
        for connection in connections:
            connection.set_trace_callback(statements.append)
        call()
        for connection in connections:
            connection.set_trace_callback(None)
        plans = {}
        for statement in statements:
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)\b", statement):
                rows = storage._db._reader.execute(f"EXPLAIN QUERY PLAN {statement}")
                plans[" ".join(statement.split())] = [row[-1] for row in rows]
        assert plans
        return plans

    return explain


def of_queue(plans: dict[str, Plan]) -> list[str]:
    """All steps in which rows of the queue are looked for."""
    steps = [step for plan in plans.values() for step in plan if "embed_queue" in step]
    return [*steps, *(s for plan in plans.values() for s in plan if re.match(r"\w+ q\b", s))]


def assert_no_walk(plans: dict[str, Plan]) -> None:
    """No table is walked from end to end, and only what is few by its nature is sorted."""
    for statement, plan in plans.items():
        few = any(name in statement for name in ("json_each", "queue_counts", "events"))
        for step in plan:
            assert few or "TEMP B-TREE" not in step, (statement, plan)
            walked = re.match(r"SCAN (embed_queue|entries|chunks|embeddings|events|q|e)\b", step)
            # A partial index holds only the rows in question: its beginning is all that is read.
            assert not walked or "USING" in step, (statement, plan)


def indexes(plans: dict[str, Plan]) -> set[str]:
    return set(re.findall(r"INDEX (queue_\w+)", "\n".join(of_queue(plans))))


@pytest.mark.parametrize("kb", [None, "kb"])
def test_a_claim_looks_only_at_what_is_due(
    storage: SqliteStorage, plans_of: Planner, kb: str | None
) -> None:
    write(storage, "kb", "a")
    worker = Worker(storage)
    plans = plans_of(lambda: worker.claim(kb=kb))

    assert_no_walk(plans)
    assert {"queue_ready", "queue_later", "queue_leased"} <= indexes(plans)
    (claimed,) = (plan for statement, plan in plans.items() if "INDEXED BY" in statement)
    # A claim in one knowledge base passes the others' rows by without leaving the index.
    assert any("INDEX queue_ready" in step for step in claimed)
    assert not any("TEMP B-TREE" in step for step in claimed)


def test_a_claim_that_finds_nothing_walks_nothing(
    storage: SqliteStorage, plans_of: Planner
) -> None:
    plans = plans_of(lambda: Worker(storage).claim())

    assert_no_walk(plans)
    assert {"queue_ready", "queue_later", "queue_leased"} <= indexes(plans)


Question = Callable[[Storage], object]


@pytest.mark.parametrize(
    ("question", "used"),
    [
        (lambda s: s.oldest_pending(), {"queue_ready", "queue_later"}),
        (lambda s: s.oldest_pending("kb"), {"queue_ready", "queue_later"}),
        (lambda s: s.last_error(), {"queue_errors"}),
        (lambda s: s.rescue(["w"], Worker(s).request().policy, now=0.0), {"queue_leased"}),
        (lambda s: s.retry_failed(None, None, now=0.0), {"queue_failed"}),
    ],
    ids=["oldest_pending", "oldest_pending(kb)", "last_error", "rescue", "retry_failed"],
)
def test_questions_use_the_index_made_for_them(
    storage: SqliteStorage, plans_of: Planner, question: Question, used: set[str]
) -> None:
    plans = plans_of(lambda: question(storage))

    assert_no_walk(plans)
    assert indexes(plans) == used


@pytest.mark.parametrize("kb", [None, "kb"])
def test_failures_are_read_from_the_newest(
    storage: SqliteStorage, plans_of: Planner, kb: str | None
) -> None:
    (plan,) = plans_of(lambda: storage.failures(kb, 10)).values()

    assert "queue_failed" in plan[0]
    # Only those of the same instant are sorted.
    assert plan[1:] == ["USE TEMP B-TREE FOR LAST 2 TERMS OF ORDER BY"]


@pytest.mark.parametrize("kb", [None, "kb"])
def test_counting_does_not_look_at_the_queue(
    storage: SqliteStorage, plans_of: Planner, kb: str | None
) -> None:
    assert of_queue(plans_of(lambda: storage.counts(kb))) == []


def test_settling_finds_its_rows_by_key(storage: SqliteStorage, plans_of: Planner) -> None:
    write(storage, "kb", "a")
    worker = Worker(storage)
    claim = worker.claim_one()
    plans = plans_of(lambda: worker.finish(claim))

    assert_no_walk(plans)
    assert any("kb_name=? AND entry_id=?" in step for step in of_queue(plans))


@pytest.mark.parametrize(
    "action",
    [
        lambda s: write(s, "kb", "a"),
        lambda s: s.entry("kb", "a"),
        lambda s: s.entries("kb", limit=10),
        lambda s: s.embeddings("kb", "a"),
        lambda s: s.passages_since(1, 0),
        lambda s: s.events(0, 10),
        lambda s: s.prune_events(10),
        lambda s: s.release([]) or s.known(1, [b"x"]),
    ],
    ids=["write", "entry", "entries", "embeddings", "passages", "events", "prune", "known"],
)
def test_everyday_work_walks_no_table(
    storage: SqliteStorage, plans_of: Planner, action: Question
) -> None:
    write(storage, "kb", "a")
    Worker(storage).embed_all()

    assert_no_walk(plans_of(lambda: action(storage)))

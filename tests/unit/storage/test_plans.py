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
from pyrite.storage.records import Filters, WordQuery
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker, delete, vector, write

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
            # The full-text index reads its own tables, as it sees fit.
            if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b(?!.*'entry_words_)", statement):
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
            walked = re.match(
                r"SCAN (embed_queue|entries|chunks|embeddings|unused_embeddings|events|[cequv])\b",
                step,
            )
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
        (lambda s: s.queue_state(), {"queue_ready", "queue_later", "queue_errors"}),
        (lambda s: s.queue_state(["kb"]), {"queue_ready", "queue_later", "queue_errors"}),
        (lambda s: s.rescue(["w"], Worker(s).request().policy, now=0.0), {"queue_leased"}),
        (lambda s: s.retry_failed(None, None, now=0.0), {"queue_failed"}),
    ],
    ids=["queue_state", "queue_state of one", "rescue", "retry_failed"],
)
def test_questions_use_the_index_made_for_them(
    storage: SqliteStorage, plans_of: Planner, question: Question, used: set[str]
) -> None:
    write(storage, "kb", "a")
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
    # A revision names one write, so its index leads to the row as surely as the key does.
    assert indexes(plans) == {"queue_revisions"}
    assert all(step.startswith("SEARCH") for step in of_queue(plans))
    chunk_steps = [step for plan in plans.values() for step in plan if " chunks " in step]
    assert "SEARCH chunks USING PRIMARY KEY (kb_name=? AND entry_id=?)" in chunk_steps
    assert all(step.startswith("SEARCH") for step in chunk_steps)


@pytest.mark.parametrize(
    "action",
    [
        lambda s: write(s, "kb", "a"),
        lambda s: s.entry("kb", "a"),
        lambda s: s.entries(Filters(kbs=("kb",)), limit=10),
        lambda s: s.entries(Filters(kbs=("kb", "other")), limit=10),
        lambda s: s.ids("kb", "a", 10),
        lambda s: s.embeddings("kb", "a"),
        lambda s: s.views([("kb", "a"), ("kb", "b")], model_id=1),
        lambda s: s.passages([1, 2]),
        lambda s: s.passages([1, 2], Filters(("kb",), ("note",), ("t",), "2024-01-01")),
        lambda s: s.revision_status(1),
        lambda s: s.embeddings_by_id(1, [1, 2]),
        lambda s: s.embeddings_after(1, 0, 10),
        lambda s: s.cached(1, 0, 10),
        lambda s: s.add_cached(1, [(b"x", b"y")]),
        lambda s: s.embedding_state(1),
        lambda s: s.events(0, 10),
        lambda s: s.feed_bounds(),
        lambda s: s.prune_events(10),
        lambda s: s.release([]) or s.known(1, [b"x"]),
    ],
    ids=[
        *("write", "entry", "entries", "entries of two", "ids", "embeddings", "views", "passages"),
        *("passages filtered", "revision_status", "embeddings_by_id"),
        *(
            "embeddings_after",
            "cached",
            "add_cached",
            "embedding_state",
            "events",
            "bounds",
            "prune",
        ),
        "known",
    ],
)
def test_everyday_work_walks_no_table(
    storage: SqliteStorage, plans_of: Planner, action: Question
) -> None:
    write(storage, "kb", "a")
    Worker(storage).embed_all()

    assert_no_walk(plans_of(lambda: action(storage)))


def only(plans: dict[str, Plan]) -> Plan:
    (plan,) = plans.values()
    return plan


def test_an_embedding_leads_to_its_passages(storage: SqliteStorage, plans_of: Planner) -> None:
    assert only(plans_of(lambda: storage.passages([1, 2])))[:3] == [
        "SCAN wanted VIRTUAL TABLE INDEX 1:",
        "SEARCH c USING INDEX chunk_embeddings (embedding_id=?)",
        "SEARCH e USING COVERING INDEX sqlite_autoindex_entries_1 (kb_name=? AND entry_id=?)",
    ]
    filters = Filters(("kb", "other"), ("note",), ("t",), "2024-01-01", "2025-01-01", {"a": "b"})
    plan = only(plans_of(lambda: storage.passages([1, 2], filters)))
    assert plan[0].startswith("SCAN wanted")
    assert plan[1].startswith("SEARCH c USING INDEX chunk_embeddings (embedding_id=?")


def test_new_embeddings_are_read_from_where_one_left_off(
    storage: SqliteStorage, plans_of: Planner
) -> None:
    for read in (storage.embeddings_after, storage.cached):
        plan = only(plans_of(lambda read=read: read(1, 5, 10)))
        assert plan == ["SEARCH embeddings USING INTEGER PRIMARY KEY (rowid>?)"]
    (_, by_id, _) = only(plans_of(lambda: storage.embeddings_by_id(1, [1, 2])))
    assert by_id == "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"


def test_the_vectors_of_one_knowledge_base_are_found_by_it(
    storage: SqliteStorage, plans_of: Planner
) -> None:
    plan = only(plans_of(lambda: storage.embedding_ids(1, Filters(kbs=("kb",)))))

    assert plan[0] == "SEARCH c USING PRIMARY KEY (kb_name=?)"
    assert not any("SCAN" in step for step in plan)


def test_a_revision_leads_to_its_row(storage: SqliteStorage, plans_of: Planner) -> None:
    write(storage, "kb", "a")
    plan = only(plans_of(lambda: storage.revision_status(1)))

    assert plan == ["SEARCH embed_queue USING INDEX queue_revisions (revision=?)"]


def test_words_lead_to_their_entries(storage: SqliteStorage, plans_of: Planner) -> None:
    wanted = WordQuery(("text",), ("title of",))
    for filters in (
        Filters(),
        Filters(kbs=("kb",)),
        Filters(("kb", "other"), ("note",), ("t",), "2024-01-01", None, {"a": "b"}),
    ):
        plan = only(plans_of(lambda f=filters: storage.with_words(wanted, f, limit=5)))
        assert re.fullmatch(r"SCAN entry_words VIRTUAL TABLE INDEX \d+:M4", plan[0])
        assert plan[1] == "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"


def test_what_a_page_of_hits_shows_is_looked_up(storage: SqliteStorage, plans_of: Planner) -> None:
    words = WordQuery(("text",))
    plans = plans_of(lambda: storage.views([("kb", "a"), ("kb", "b")], model_id=1, query=words))

    layouts, highlights, entries = plans.values()
    assert layouts[:2] == [
        "SCAN k VIRTUAL TABLE INDEX 1:",
        "SEARCH c USING PRIMARY KEY (kb_name=? AND entry_id=?)",
    ]
    for plan in (highlights, entries):
        assert plan[0] == "SCAN k VIRTUAL TABLE INDEX 1:"
        assert plan[1].endswith("(kb_name=? AND entry_id=?)")
    # One row of the full-text index for each entry, and not all that have the word.
    assert re.fullmatch(r"SCAN entry_words VIRTUAL TABLE INDEX \d+:=M4", highlights[2])
    assert entries[2].endswith("(kb_name=? AND entry_id=?)")


def test_looking_for_unused_embeddings_reads_no_vector(
    storage: SqliteStorage, plans_of: Planner
) -> None:
    write(storage, "kb", "a")
    worker = Worker(storage)
    worker.embed_all()
    delete(storage, "kb", "a")
    plans = plans_of(lambda: storage.collect_unused(now=1.0, unused_s=0.0))

    (looking,) = (plan for statement, plan in plans.items() if statement.startswith("SELECT id"))
    assert looking[0].startswith("SCAN e USING COVERING INDEX sqlite_autoindex_embeddings_1")
    steps = [
        step for plan in plans.values() for step in plan if re.match(r"\w+ (e|embeddings)\b", step)
    ]
    assert all("COVERING INDEX" in step or "rowid=?" in step for step in steps)
    used = [step for plan in plans.values() for step in plan if "chunks" in step]
    assert used
    assert all("chunk_embeddings (embedding_id=?)" in step for step in used)


def test_encoding_afresh_finds_what_used_the_old_vector(
    storage: SqliteStorage, plans_of: Planner
) -> None:
    write(storage, "kb", "a")
    worker = Worker(storage)
    worker.embed_all()
    storage.reembed(None, now=1.0, force=True, other_than=None)
    claim = worker.claim_one(1.0)
    plans = plans_of(lambda: worker.finish(claim, now=1.0))

    assert storage.embeddings("kb", "a")[0][1] == vector("text").tobytes()
    assert_no_walk(plans)
    (moving,) = (plan for statement, plan in plans.items() if statement.startswith("UPDATE chunks"))
    assert moving == ["SEARCH chunks USING INDEX chunk_embeddings (embedding_id=?)"]

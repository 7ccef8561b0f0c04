"""The fallback over a real database: every kind of worker, and everything that can come of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.ports import RefusedTextError
from pyrite.embedding.fallback import Fallback, Handling, WriteOutcome
from pyrite.embedding.process import identity, process_started
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.errors import ModelError
from pyrite.storage.queue_records import WorkerRow
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product

ROOT = Path(__file__).resolve().parents[2]


class Away(FakeEncoder):
    """A model that cannot be found."""

    def fingerprint(self) -> str:
        raise ModelError("the model 'gone' is not there")


def refuse(_: Sequence[str]) -> None:
    raise RefusedTextError("too strange")


def stumble(_: Sequence[str]) -> None:
    raise ValueError("not this time")


def interrupt(_: Sequence[str]) -> None:
    raise KeyboardInterrupt


def lock(_: Sequence[str]) -> None:
    raise sqlite3.OperationalError("database is locked")


#: What the encoder does: it works, or one of these.
OUTCOMES: dict[str, Callable[[], FakeEncoder]] = {
    "success": FakeEncoder,
    "model missing": Away,
    "text refused": partial(FakeEncoder, fail=refuse),
    "failure": partial(FakeEncoder, fail=stumble),
    "interruption": partial(FakeEncoder, fail=interrupt),
}

#: How the entry stands afterwards where it is embedded here, and a word of the warning.
EMBEDDED_HERE: dict[str, tuple[Status, str | None]] = {
    "success": (Status.DONE, None),
    "model missing": (Status.PENDING, "is not there"),
    "text refused": (Status.FAILED, "too strange"),
    "failure": (Status.PENDING, "not this time"),
    "interruption": (Status.PENDING, "interrupted"),
}


def row(pid: int, state: WorkerState = WorkerState.IDLE, **more: object) -> WorkerRow:
    me, now = identity(), time.time()
    values = {"reason": None, "model": "fake", "heartbeat_at": now, **more}
    return WorkerRow("w", pid, me.host, process_started(pid), now, state=state, **values)  # type: ignore[arg-type]


@contextmanager
def nobody(_: Product) -> Iterator[None]:
    yield


@contextmanager
def of_this_process(product: Product) -> Iterator[None]:
    product.storage.beat(row(os.getpid()))
    yield


@contextmanager
def of_another(product: Product, **more: object) -> Iterator[None]:
    """The heartbeat of a process that lives, and ends afterwards."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        product.storage.beat(row(process.pid, **more))  # type: ignore[arg-type]
        yield


@contextmanager
def dead(product: Product) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        product.storage.beat(row(process.pid))
    yield


@contextmanager
def paused(product: Product) -> Iterator[None]:
    product.settings = product.tuned(paused=True)
    yield


@dataclass(frozen=True)
class Case:
    """Who serves the database, and what follows."""

    given: Callable[[Product], object]
    handling: Handling
    warning: str | None = None


CASES = {
    "none": Case(nobody, Handling.EMBED),
    "in this process": Case(of_this_process, Handling.WORKER),
    "in another": Case(of_another, Handling.WORKER),
    "stale heartbeat": Case(partial(of_another, heartbeat_at=time.time() - 3600), Handling.EMBED),
    "dead process": Case(dead, Handling.EMBED),
    "of one knowledge base": Case(partial(of_another, kb=KB), Handling.EMBED),
    "stopping": Case(partial(of_another, state=WorkerState.STOPPING), Handling.EMBED),
    "degraded": Case(
        partial(of_another, state=WorkerState.DEGRADED, reason="no model.bin"),
        Handling.WORKER,
        "no model.bin",
    ),
    "paused": Case(paused, Handling.PAUSED, "paused"),
}


def after(product: Product, encoder: FakeEncoder, *ids: str, **more: object) -> WriteOutcome:
    fallback = Fallback(
        product.storage, lambda: encoder, product.embedding, lambda: product.settings
    )
    return fallback.after([(KB, entry_id) for entry_id in ids], **more)  # type: ignore[arg-type]


@pytest.mark.process
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_becomes_of_a_write(product: Product, case: Case, outcome: str) -> None:
    written = product.kbs.create_entry(KB, Draft("A", body="Text."))
    encoder = OUTCOMES[outcome]()
    with case.given(product):  # type: ignore[attr-defined]
        result = after(product, encoder, written.id)
    assert result.handling is case.handling
    expected, word = Status.PENDING, case.warning
    if case.handling is Handling.EMBED:
        expected, word = EMBEDDED_HERE[outcome]
    else:
        # It was left to others: no model was touched.
        assert (encoder.calls, encoder.loads) == ([], 0)
    assert result.embedding is expected
    assert result.interrupted == (case.handling is Handling.EMBED and outcome == "interruption")
    assert (result.warning is None) == (word is None)
    assert word is None or word in (result.warning or "")
    # Whatever came of it, the write stands, and what is not embedded is queued or has failed.
    assert product.entry("a").revision == written.revision
    assert product.status("a") is expected
    assert not [w for w in product.storage.workers() if w.kb == KB and w.worker_id != "w"]


@pytest.mark.parametrize("outcome", [name for name in OUTCOMES if name != "success"])
def test_what_was_left_queued_is_embedded_by_the_next(product: Product, outcome: str) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))
    after(product, OUTCOMES[outcome](), "a")
    assert after(product, FakeEncoder(), "a").embedding is Status.DONE
    assert product.is_embedded("a")


def test_who_only_wants_it_queued_touches_no_model(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))
    result = after(product, Away(), "a", embed=False)
    assert (result.handling, result.embedding, result.warning) == (
        *(Handling.QUEUE, Status.PENDING),
        None,
    )


def test_what_is_embedded_already_takes_no_model(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))
    product.embed()
    result = after(product, Away(), "a")
    assert (result.embedding, result.warning) == (Status.DONE, None)


def test_a_locked_database_is_told_and_hides_no_write(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))

    class Locked(FakeEncoder):
        def fingerprint(self) -> str:
            lock([])
            raise AssertionError

    result = after(product, Locked(), "a")
    assert result.embedding is Status.PENDING
    assert "database is locked" in (result.warning or "")


def test_a_bug_stays_one_and_gives_back_what_it_held(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))

    class Forgetful(FakeEncoder):
        def encode(self, texts: Sequence[str]) -> Sequence[object]:  # type: ignore[override]
            return []

    with pytest.raises(ValueError, match="zip"):
        after(product, Forgetful(), "a")
    assert product.status("a") is Status.PENDING


def test_several_are_encoded_together(product: Product) -> None:
    for number in range(4):
        product.kbs.create_entry(KB, Draft(f"n{number}", body=f"Text {number}."))
    encoder = FakeEncoder()
    result = after(product, encoder, *(f"n{number}" for number in range(4)))
    assert result.embedding is Status.DONE
    assert [len(call) for call in encoder.calls] == [4]
    assert all(product.is_embedded(f"n{number}") for number in range(4))


def test_more_than_are_claimed_at_a_time(product: Product) -> None:
    product.settings = product.tuned(claim_limit=2)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        product.kbs.create_entry(KB, Draft(name, body=f"Text of {name}."))
    assert after(product, FakeEncoder(), *names).embedding is Status.DONE


def test_one_bad_entry_costs_its_neighbours_nothing(product: Product) -> None:
    for name in ("good", "bad", "better"):
        product.kbs.create_entry(KB, Draft(name, body=f"This is {name}."))

    def poison(texts: Sequence[str]) -> None:
        if any("is bad" in text for text in texts):
            refuse(texts)

    result = after(product, FakeEncoder(fail=poison), "good", "bad", "better")
    assert result.statuses == {
        (KB, "good"): Status.DONE,
        (KB, "bad"): Status.FAILED,
        (KB, "better"): Status.DONE,
    }
    assert result.embedding is Status.FAILED
    assert "notes/bad could not be embedded" in (result.warning or "")
    assert "--retry-failed" in (result.warning or "")


def test_entries_of_several_knowledge_bases(product: Product) -> None:
    product.add_kb("wiki")
    product.kbs.create_entry(KB, Draft("A", body="Text."))
    product.kbs.create_entry("wiki", Draft("B", body="Other."))
    fallback = Fallback(product.storage, FakeEncoder, product.embedding, lambda: product.settings)
    assert fallback.after([(KB, "a"), ("wiki", "b")]).embedding is Status.DONE


def test_what_is_raised_between_two_calls_stops_it_and_gives_back(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))

    class Gone(BaseException):
        pass

    def between() -> None:
        assert product.status("a") is Status.PROCESSING
        raise Gone

    encoder = FakeEncoder()
    with pytest.raises(Gone):
        after(product, encoder, "a", between=between)
    assert product.status("a") is Status.PENDING
    assert encoder.calls == []
    assert product.storage.failures() == []


def test_what_was_deleted_meanwhile_is_left_out(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A", body="Text."))

    def remove(_: Sequence[str]) -> None:
        product.kbs.delete_entry(KB, "a")

    result = after(product, FakeEncoder(fail=remove), "a")
    assert result.statuses == {}


async def test_a_real_worker_of_this_process_does_it(product: Product) -> None:
    encoder = FakeEncoder()
    worker = EmbeddingWorker(product.storage, encoder, product.settings)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            while product.embedding.live_worker() is None:  # noqa: ASYNC110 - a thread's commit
                await trio.sleep(0.001)
            product.kbs.create_entry(KB, Draft("A", body="Text."))
            result = after(product, Away(), "a")
            assert (result.handling, result.warning) == (Handling.WORKER, None)
            while product.status("a") is not Status.DONE:  # noqa: ASYNC110 - likewise
                await trio.sleep(0.001)
            worker.stop()
    assert encoder.calls

"""Status, failures and retries, and one entry embedded at once, over a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from actors.lifecycle import RetryPolicy, Status
from actors.messages import Vector
from actors.ports import EncoderUnavailableError, RefusedTextError
from pyrite.api.base import plain
from pyrite.api.index import embed_status
from pyrite.embedding.process import identity, is_dead, process_started
from pyrite.embedding.service import EmbeddingService, model_name
from pyrite.errors import ModelError, NotFoundError
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.queue_records import Leader, WorkerRow
from pyrite.vault.entry_files import Draft, Edit
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product


def refuse(_: Sequence[str]) -> None:
    raise ValueError("cannot be encoded")


@pytest.fixture
def entry(product: Product) -> str:
    """One entry that waits."""
    return product.kbs.create_entry(KB, Draft("A", body="text")).id


def row(product: Product) -> tuple[object, ...]:
    """Status, attempts and error of the only row, and whether somebody holds it."""
    (found,) = product.query(
        "SELECT status, attempts, error, claim_token IS NOT NULL FROM embed_queue"
    )
    return found


def worker_row(product: Product, **changes: object) -> WorkerRow:
    """A worker of this very process, on record."""
    me = identity()
    now = time.time()
    made = WorkerRow(
        me.worker_id, me.pid, me.host, me.process_started, now, now, "idle", None, "fake"
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    product.storage.beat(made)
    return made


def dead_pid() -> int:
    """The pid of a process that has ended and been waited for."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


# One entry at once


def test_an_entry_is_embedded_at_once(product: Product, entry: str) -> None:
    before = product.storage.feed_bounds().last
    stored = product.embedding.embed_entry(FakeEncoder(), KB, entry)
    assert stored.embedding is Status.DONE
    assert product.is_embedded(entry)
    assert row(product) == ("done", 1, None, 0)
    assert product.storage.workers() == []
    (event,) = product.storage.events(before, 9)
    assert (event.type, event.entry_id, event.revision) == (
        "embed_complete",
        entry,
        stored.revision,
    )


def test_a_text_that_was_encoded_before_needs_no_call(product: Product, entry: str) -> None:
    product.embed()
    product.kbs.update_entry(KB, entry, Edit({"reviewed": True}))
    assert product.status(entry) is Status.PENDING
    encoder = FakeEncoder()
    assert product.embedding.embed_entry(encoder, KB, entry).embedding is Status.DONE
    assert encoder.calls == []
    assert product.is_embedded(entry)


def test_what_is_embedded_is_left_as_it_is(product: Product, entry: str) -> None:
    before = product.embed() and product.storage.events(0, 9)
    encoder = FakeEncoder()
    assert product.embedding.embed_entry(encoder, KB, entry).embedding is Status.DONE
    assert (encoder.calls, product.storage.events(0, 9)) == ([], before)


def test_a_text_that_fails_stays_queued_until_its_last_attempt(
    product: Product, entry: str
) -> None:
    encoder = FakeEncoder(fail=refuse)
    error = "ValueError: cannot be encoded"
    for attempt in (1, 2):
        stored = product.embedding.embed_entry(encoder, KB, entry)
        assert stored.embedding is Status.PENDING
        assert row(product) == ("pending", attempt, error, 0)
    assert product.embedding.embed_entry(encoder, KB, entry).embedding is Status.FAILED
    assert row(product) == ("failed", 3, error, 0)
    (failure,) = product.embedding.failures()
    assert (failure.entry_id, failure.error, failure.attempts) == (entry, error, 3)
    # Asked for once more, it gets another try, even though it had failed for good.
    assert product.embedding.embed_entry(FakeEncoder(), KB, entry).embedding is Status.DONE
    assert row(product) == ("done", 1, None, 0)


def test_a_retry_that_is_not_due_yet_is_made_when_asked_for(product: Product, entry: str) -> None:
    service = EmbeddingService(product.storage, product.tuned(retry_base_s=1000.0))
    service.embed_entry(FakeEncoder(fail=refuse), KB, entry)
    assert product.query("SELECT available_at IS NOT NULL FROM embed_queue") == [(1,)]
    assert service.embed_entry(FakeEncoder(), KB, entry).embedding is Status.DONE


def test_a_text_that_can_never_be_encoded_fails_at_once(product: Product, entry: str) -> None:
    def never(_: Sequence[str]) -> None:
        raise RefusedTextError("too odd")

    stored = product.embedding.embed_entry(FakeEncoder(fail=never), KB, entry)
    assert stored.embedding is Status.FAILED
    assert row(product) == ("failed", 1, "RefusedTextError: too odd", 0)


def test_an_encoder_that_loses_a_text_is_a_bug_and_not_a_success(
    product: Product, entry: str
) -> None:
    class Forgetful(FakeEncoder):
        def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
            return super().encode(texts)[1:]

    with pytest.raises(ValueError, match="zip"):
        product.embedding.embed_entry(Forgetful(), KB, entry)
    assert row(product) == ("pending", 0, None, 0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelError("no model"), ModelError),
        (EncoderUnavailableError("unreachable"), EncoderUnavailableError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(1), SystemExit),
    ],
)
def test_whoever_is_interrupted_gives_the_entry_back_uncharged(
    product: Product, entry: str, error: BaseException, kind: type[BaseException]
) -> None:
    def interrupt(_: Sequence[str]) -> None:
        raise error

    with pytest.raises(kind):
        product.embedding.embed_entry(FakeEncoder(fail=interrupt), KB, entry)
    assert row(product) == ("pending", 0, None, 0)
    assert product.storage.workers() == []


def test_a_model_that_cannot_be_found_charges_nobody(product: Product, entry: str) -> None:
    class Missing(FakeEncoder):
        def fingerprint(self) -> str:
            raise ModelError("not installed")

    with pytest.raises(ModelError, match="not installed"):
        product.embedding.embed_entry(Missing(), KB, entry)
    assert row(product) == ("pending", 0, None, 0)


def test_an_entry_that_another_worker_holds_is_left_to_it(product: Product, entry: str) -> None:
    other = worker_row(product)
    request = ClaimRequest(other.worker_id, time.time(), 60.0, RetryPolicy())
    assert len(product.storage.claim(request).due) == 1
    encoder = FakeEncoder()
    stored = product.embedding.embed_entry(encoder, KB, entry)
    assert stored.embedding is Status.PROCESSING
    assert encoder.calls == []
    assert row(product) == ("processing", 1, None, 1)
    assert [w.worker_id for w in product.storage.workers()] == [other.worker_id]


def test_what_is_not_there_cannot_be_embedded(product: Product) -> None:
    with pytest.raises(NotFoundError, match="no entry 'none' in 'notes'"):
        product.embedding.embed_entry(FakeEncoder(), KB, "none")
    with pytest.raises(NotFoundError, match="no entry 'none' in 'nowhere'"):
        product.embedding.embed_entry(FakeEncoder(), "nowhere", "none")


def test_an_entry_written_while_it_was_encoded_stays_queued(product: Product, entry: str) -> None:
    def write(_: Sequence[str]) -> None:
        product.kbs.update_entry(KB, entry, Edit(body="newer"))

    stored = product.embedding.embed_entry(FakeEncoder(fail=write), KB, entry)
    assert stored.embedding is Status.PENDING
    assert product.storage.embeddings(KB, entry) == []
    product.embed()
    assert product.is_embedded(entry)


# Status


def test_the_status_of_nothing(product: Product) -> None:
    status = product.embedding.status()
    assert (status.counts.total, status.coverage) == (0, 1.0)
    assert (status.last_error, status.oldest_pending_age_s, status.worker) == (None, None, None)
    assert status.model == product.settings.model


def test_status_counts_covers_and_dates(product: Product) -> None:
    for title in "ABC":
        product.kbs.create_entry(KB, Draft(title))
    product.embedding.embed_entry(FakeEncoder(), KB, "a")
    for _ in range(3):
        product.embedding.embed_entry(FakeEncoder(fail=refuse), KB, "b")
    (queued,) = product.query("SELECT queued_at FROM embed_queue WHERE entry_id = 'c'")[0]
    service = EmbeddingService(product.storage, product.settings, lambda: queued + 7)
    status = service.status()
    counts = status.counts
    assert (counts.pending, counts.processing, counts.done, counts.failed) == (1, 0, 1, 1)
    assert status.coverage == 0.3333  # rounded down, so that 1 means all
    assert status.oldest_pending_age_s == 7
    assert status.last_error is not None
    assert (status.last_error.entry_id, status.last_error.kb) == ("b", KB)
    assert service.status(KB).counts == counts
    assert service.status("other").counts.total == 0
    behind = EmbeddingService(product.storage, product.settings, lambda: queued - 7)
    assert behind.status().oldest_pending_age_s == 0


def test_what_another_model_embedded_is_still_to_be_embedded(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    product.embed()
    status = EmbeddingService(product.storage, product.tuned(model="other")).status()
    assert (status.counts.pending, status.counts.done, status.coverage) == (1, 0, 0.0)
    assert status.oldest_pending_age_s is None
    assert product.embedding.status().coverage == 1.0


def test_a_live_worker_is_shown_and_a_dead_or_silent_one_is_not(product: Product) -> None:
    lease = product.settings.lease_s
    worker_row(product, worker_id="silent", heartbeat_at=time.time() - lease - 1)
    worker_row(product, worker_id="before the clock was set back", heartbeat_at=time.time() + 1e5)
    worker_row(product, worker_id="dead", pid=dead_pid())
    worker_row(product, worker_id="recycled", process_started="another boot:1")
    assert product.embedding.live_worker() is None
    elsewhere = worker_row(product, worker_id="far", host="another-host", pid=dead_pid())
    assert product.embedding.live_worker() == elsewhere
    here = worker_row(product, worker_id="here", heartbeat_at=time.time() + 1)
    assert product.embedding.live_worker() == here


def test_a_claim_whose_text_cannot_be_split_is_given_back(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("A"))

    def missing(_: FakeEncoder) -> None:
        raise ModelError("there is no tokenizer")

    monkeypatch.setattr(FakeEncoder, "tokenizer", missing)
    with pytest.raises(ModelError, match="no tokenizer"):
        product.embedding.embed_entry(FakeEncoder(), KB, "a")
    assert product.query("SELECT status, attempts FROM embed_queue") == [("pending", 0)]


def test_a_dead_process_is_told_from_a_live_one(product: Product) -> None:
    assert not is_dead(worker_row(product))
    assert is_dead(worker_row(product, pid=dead_pid()))
    assert not is_dead(worker_row(product, process_started=None))
    zombie = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(zombie.pid) == "ended"
    assert is_dead(worker_row(product, pid=zombie.pid))
    zombie.wait()
    assert process_started(zombie.pid) is None


# Failures and retries


def failed(product: Product, *titles: str) -> None:
    for title in titles:
        product.kbs.create_entry(KB, Draft(title))
        for _ in range(3):
            product.embedding.embed_entry(FakeEncoder(fail=refuse), KB, title)


def test_all_that_failed_is_queued_again(product: Product) -> None:
    failed(product, "a", "b")
    product.kbs.create_entry(KB, Draft("c"))
    assert sorted(product.embedding.retry_failed()) == [(KB, "a"), (KB, "b")]
    assert product.embedding.failures() == []
    assert product.storage.counts().pending == 3
    assert product.embedding.retry_failed() == []
    product.embed()
    assert product.storage.counts().done == 3


def test_one_that_failed_is_queued_again(product: Product) -> None:
    failed(product, "a", "b")
    assert product.embedding.retry_failed(KB, ["b"]) == [(KB, "b")]
    assert [failure.entry_id for failure in product.embedding.failures()] == ["a"]


def test_what_has_not_failed_is_no_failure_to_retry(product: Product) -> None:
    failed(product, "a")
    product.kbs.create_entry(KB, Draft("b"))
    for names in (["b"], ["a", "none"]):
        with pytest.raises(NotFoundError, match="is not among the failed entries"):
            product.embedding.retry_failed(None, names)
    with pytest.raises(NotFoundError, match="'a' is not among the failed"):
        product.embedding.retry_failed("other", ["a"])
    assert product.status("a") is Status.FAILED


def test_everything_can_be_encoded_afresh(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("a", body="1"))
    product.kbs.create_entry(KB, Draft("b", body="2"))
    product.embed()
    assert product.embedding.reembed("other") == 0
    assert product.embedding.reembed(KB) == 2
    assert len(product.embed().calls) == 2
    assert product.embed().calls == []


def test_the_time_left_is_told_from_the_length_of_the_texts(product: Product) -> None:
    assert product.embedding.status().time_left_s is None
    product.kbs.create_entry(KB, Draft("Title", id="short", body="x" * 95))
    product.kbs.create_entry(KB, Draft("Title", id="long", body="x" * 895))
    assert product.embedding.status().time_left_s is None  # nobody is at it
    worker_row(product, tokens_per_s=30.0, characters_per_s=100.0)
    assert product.embedding.status().time_left_s == pytest.approx(10.0, rel=0.01)
    assert product.embedding.status(KB).time_left_s == pytest.approx(10.0, rel=0.01)
    product.embed()
    assert product.embedding.status().time_left_s is None


# The status as JSON, and which worker counts


def test_a_worker_that_embeds_one_knowledge_base_serves_nobody_else(product: Product) -> None:
    scoped = worker_row(product, worker_id="scoped", kb=KB, heartbeat_at=time.time() + 1)
    assert product.embedding.live_worker() is None
    assert product.embedding.status(KB).worker == scoped
    everything = worker_row(product, worker_id="everything")
    assert product.embedding.live_worker() == everything
    assert product.embedding.status("other").worker == everything


def test_of_several_workers_the_one_with_the_right_is_shown(product: Product) -> None:
    leading = worker_row(product, worker_id="leading")
    worker_row(product, worker_id="here", heartbeat_at=time.time() + 1)
    me = identity()
    product.storage.lead(
        Leader("leading", me.pid, me.host, me.process_started, time.time(), time.time() + 60)
    )
    assert product.embedding.status().worker == leading


def test_no_path_is_in_the_status_as_json(product: Product) -> None:
    worker_row(
        product,
        model="/srv/models/mine",
        state="degraded",
        reason="cannot read /srv/models/mine/model.bin: permission denied",
    )
    service = EmbeddingService(product.storage, product.tuned(model="/srv/models/mine"))
    told = plain(embed_status(service.status()))
    assert "/srv" not in json.dumps(told)
    assert told["model"] == "mine"
    worker = told["worker"]
    assert isinstance(worker, dict)
    assert worker["model"] == "mine"
    assert worker["reason"] == "cannot read …: permission denied"
    assert model_name("sentence-transformers/all-MiniLM-L6-v2").startswith("sentence-")

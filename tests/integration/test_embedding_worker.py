"""The pipeline over a real database: it embeds, retries, stops, shares and takes over."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import trio

from actors.lifecycle import LEASE_EXPIRED, RetryPolicy, Status
from actors.messages import Event, Gap, Statistics, WorkerState
from actors.packing import BatchLimits
from pyrite.embedding import worker as worker_module
from pyrite.embedding.process import identity
from pyrite.embedding.queue import WorkerQueue
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.errors import ModelError
from pyrite.knowledge.service import KBService
from pyrite.storage.protocol import ClaimRequest, Storage
from pyrite.storage.queue_records import WorkerRow
from pyrite.vault.entry_files import Draft, Edit
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product


def fill(product: Product, number: int, kb: str = KB) -> list[str]:
    """Create so many entries; returns their ids."""
    return [
        product.kbs.create_entry(kb, Draft(f"n{each}", body=f"text {each} of {kb}")).id
        for each in range(number)
    ]


def worker(
    product: Product,
    encoder: FakeEncoder | None = None,
    *,
    storage: Storage | None = None,
    **settings: object,
) -> EmbeddingWorker:
    return EmbeddingWorker(
        storage or product.storage, encoder or FakeEncoder(), product.tuned(**settings)
    )


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it surely will."""
    with trio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in the database
            await trio.sleep(0.001)


def rows(product: Product) -> list[tuple[object, ...]]:
    """(status, attempts, is held) with how many rows are so."""
    return product.query(
        "SELECT status, attempts, claim_token IS NOT NULL, count(*) FROM embed_queue"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )


# Once


async def test_a_drain_embeds_all_that_is_queued(product: Product) -> None:
    ids = fill(product, 25)
    encoder = FakeEncoder()
    statistics = await worker(product, encoder).process_queue()
    assert (statistics.done, statistics.failed, statistics.retried) == (25, 0, 0)
    assert (statistics.chunks, statistics.lost, statistics.released) == (25, 0, 0)
    assert statistics.batches == len(encoder.calls)
    assert max(map(len, encoder.calls)) <= BatchLimits().texts
    assert sum(map(len, encoder.calls)) == 25
    assert all(product.is_embedded(each) for each in ids)
    assert rows(product) == [("done", 1, 0, 25)]
    assert product.storage.workers() == []


async def test_nothing_to_do_is_done_without_the_model(product: Product) -> None:
    encoder = FakeEncoder()
    assert (await worker(product, encoder).process_queue()).done == 0
    assert (encoder.ready, encoder.calls) == (False, [])


async def test_a_text_that_was_encoded_before_needs_no_call(product: Product) -> None:
    product.write("a/same.md", "same")
    product.folders.sync(product.kb)
    await worker(product).process_queue()
    for folder in "bcd":
        product.write(f"{folder}/same.md", "same")
    product.folders.sync(product.kb)
    encoder = FakeEncoder()
    assert (await worker(product, encoder).process_queue()).done == 3
    assert (encoder.ready, encoder.calls) == (False, [])
    assert all(product.is_embedded(f"{folder}/same") for folder in "abcd")


async def test_a_text_that_cannot_be_encoded_does_not_hold_up_its_neighbours(
    product: Product,
) -> None:
    ids = fill(product, 10)

    def refuse(texts: Sequence[str]) -> None:
        if any("text 3 " in text for text in texts):
            raise ValueError("poison")

    statistics = await worker(product, FakeEncoder(fail=refuse)).process_queue()
    assert (statistics.done, statistics.failed, statistics.retried) == (9, 1, 2)
    assert rows(product) == [("done", 1, 0, 9), ("failed", 3, 0, 1)]
    (failure,) = product.embedding.failures()
    assert (failure.entry_id, failure.error, failure.attempts) == (ids[3], "ValueError: poison", 3)
    assert all(product.is_embedded(each) for each in ids if each != ids[3])


async def test_a_failure_that_passes_is_only_a_retry(product: Product) -> None:
    fill(product, 1)
    failures = iter([ValueError("once"), RuntimeError("twice")])

    def refuse(_: Sequence[str]) -> None:
        if error := next(failures, None):
            raise error

    statistics = await worker(product, FakeEncoder(fail=refuse)).process_queue()
    assert (statistics.done, statistics.failed, statistics.retried) == (1, 0, 2)
    assert rows(product) == [("done", 3, 0, 1)]
    assert product.embedding.status().last_error is None


async def test_a_drain_waits_for_retries_that_are_due_later(product: Product) -> None:
    fill(product, 1)
    failures = iter([ValueError("once")])

    def refuse(_: Sequence[str]) -> None:
        if error := next(failures, None):
            raise error

    statistics = await worker(product, FakeEncoder(fail=refuse), retry_base_s=0.02).process_queue()
    assert (statistics.done, statistics.retried) == (1, 1)


async def test_what_is_left_to_a_drain_at_its_end_is_embedded_by_it(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(product, 1)
    close, late = worker_module._close, iter(["late", "later"])

    async def close_late(queue: WorkerQueue) -> None:
        for title in late:
            # Whoever writes sees a worker that is alive, and leaves the entry to it.
            product.kbs.create_entry(KB, Draft(title, body=title))
            assert product.embedding.live_worker() is not None
            break
        await close(queue)

    monkeypatch.setattr(worker_module, "_close", close_late)
    assert (await worker(product).process_queue()).done == 3
    assert product.entry("later").embedding is Status.DONE
    assert product.embedding.live_worker() is None


async def test_a_drain_keeps_to_its_knowledge_base(product: Product) -> None:
    other = product.folder.parent / "other"
    other.mkdir()
    product.kbs.add_kb("other", other)
    fill(product, 3)
    fill(product, 4, "other")
    assert (await worker(product).process_queue("other")).done == 4
    assert product.storage.counts(KB).pending == 3
    assert product.storage.counts("other").done == 4


async def test_an_entry_written_while_it_is_encoded_is_encoded_again(product: Product) -> None:
    (name,) = fill(product, 1)
    texts = iter(["newer", "newest"])

    def write(_: Sequence[str]) -> None:
        if text := next(texts, None):
            product.kbs.update_entry(KB, name, Edit(body=text))

    statistics = await worker(product, FakeEncoder(fail=write)).process_queue()
    assert (statistics.done, statistics.lost) == (1, 2)
    assert product.entry(name).entry.body == "newest"
    assert product.is_embedded(name)


async def test_an_entry_deleted_while_it_is_encoded_leaves_nothing(product: Product) -> None:
    (name,) = fill(product, 1)
    before = product.storage.feed_bounds().last

    def delete(_: Sequence[str]) -> None:
        product.kbs.delete_entry(KB, name)

    statistics = await worker(product, FakeEncoder(fail=delete)).process_queue()
    assert (statistics.done, statistics.lost) == (0, 1)
    assert product.query("SELECT count(*) FROM chunks") == [(0,)]
    assert [event.type for event in product.storage.events(before, 9)] == ["entry_deleted"]


async def test_the_feed_tells_what_happened(product: Product) -> None:
    fill(product, 3)

    def refuse(texts: Sequence[str]) -> None:
        if any("text 1 " in text for text in texts):
            raise ValueError("poison")

    since, before = product.storage.feed_bounds().last, time.time()
    await worker(product, FakeEncoder(fail=refuse)).process_queue()
    told = product.storage.events(since, 99)
    events = {event.entry_id: event for event in told}
    assert len(told) == len(events)
    assert sorted(events) == ["n0", "n1", "n2"]
    complete = events["n0"]
    queued = dict(product.query("SELECT entry_id, queued_at FROM embed_queue"))
    assert (complete.type, complete.kb) == ("embed_complete", KB)
    assert complete.revision == product.entry("n0").revision
    assert set(complete.detail) == {"queued_at", "embedded_at", "duration_ms"}
    assert complete.detail["queued_at"] == queued["n0"]
    embedded = complete.detail["embedded_at"]
    assert isinstance(embedded, float)
    assert before <= embedded == complete.at <= time.time()
    assert complete.detail["duration_ms"] == pytest.approx(
        1000 * (embedded - queued["n0"]), abs=0.01
    )
    assert events["n1"].type == "embed_failed"
    assert events["n1"].detail == {"error": "ValueError: poison", "attempts": 3}


# The model


async def test_a_model_that_is_missing_charges_nobody(product: Product) -> None:
    fill(product, 2)

    class Missing(FakeEncoder):
        def fingerprint(self) -> str:
            raise ModelError("not installed")

    with pytest.raises(ModelError, match="not installed"):
        await worker(product, Missing()).process_queue()
    assert rows(product) == [("pending", 0, 0, 2)]
    assert product.storage.workers() == []


@pytest.mark.parametrize("when", ["load", "encode"])
async def test_a_model_that_cannot_be_loaded_charges_nobody(product: Product, when: str) -> None:
    fill(product, 20)

    def away(*_: object) -> None:
        raise ModelError("cannot be loaded")

    encoder = FakeEncoder(fail=away if when == "encode" else None)
    if when == "load":
        encoder.load = away  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="cannot be loaded"):
        await worker(product, encoder).process_queue()
    assert rows(product) == [("pending", 0, 0, 20)]
    assert product.storage.workers() == []
    assert (await worker(product).process_queue()).done == 20


async def test_a_server_says_that_its_model_is_away_and_charges_nobody(product: Product) -> None:
    fill(product, 3)

    def away(*_: object) -> None:
        raise ModelError("cannot be loaded")

    serving = worker(product, FakeEncoder(fail=away))
    ended: list[Statistics] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            ended.append(await serving.run())

        await until(lambda: serving.statistics().state is WorkerState.DEGRADED)
        await until(lambda: [w.state for w in product.storage.workers()] == ["degraded"])
        shown = product.embedding.live_worker()
        assert shown is not None
        assert shown.reason == "cannot be loaded"
        serving.stop()
    assert ended[0].released == 3
    assert rows(product) == [("pending", 0, 0, 3)]


async def test_another_models_entries_are_embedded_anew(product: Product) -> None:
    ids = fill(product, 5)
    await worker(product).process_queue()
    other = FakeEncoder("other")
    statistics = await worker(product, other).process_queue()
    assert statistics.done == 5
    assert sum(map(len, other.calls)) == 5
    names = {model.model_id: model.name for model in product.storage.models()}
    used = product.query("SELECT DISTINCT model_id FROM chunks")
    assert [names[each] for (each,) in used] == ["other"]  # type: ignore[index]
    # And back again: what the first model encoded is still known.
    first = FakeEncoder()
    assert (await worker(product, first).process_queue()).done == 5
    assert first.calls == []
    assert all(product.is_embedded(each) for each in ids)


async def test_what_is_forced_is_encoded_though_it_is_known(product: Product) -> None:
    fill(product, 4)
    await worker(product).process_queue()
    assert product.embedding.reembed() == 4
    encoder = FakeEncoder()
    assert (await worker(product, encoder).process_queue()).done == 4
    assert sum(map(len, encoder.calls)) == 4
    assert (await worker(product, encoder).process_queue()).done == 0


# Stopping


async def test_a_stop_commits_what_has_begun_and_gives_back_the_rest(product: Product) -> None:
    fill(product, 20)
    stopping: list[EmbeddingWorker] = []
    token = trio.lowlevel.current_trio_token()

    def stop(_: Sequence[str]) -> None:
        trio.from_thread.run_sync(stopping[0].stop, trio_token=token)

    encoder = FakeEncoder(fail=stop)
    stopping.append(worker(product, encoder, batch_texts=2, claim_limit=10))
    statistics = await stopping[0].process_queue()
    assert len(encoder.calls) == 1
    assert statistics.done == 2
    assert statistics.released > 0
    assert rows(product) == [("done", 1, 0, 2), ("pending", 0, 0, 18)]
    assert product.storage.workers() == []
    assert (await worker(product).process_queue()).done == 18


async def test_a_stop_before_the_start_does_nothing(product: Product) -> None:
    fill(product, 3)
    stopped = worker(product)
    stopped.stop()
    assert (await stopped.process_queue()).done == 0
    assert rows(product) == [("pending", 0, 0, 3)]


async def test_an_encode_call_that_hangs_is_abandoned_after_the_grace(product: Product) -> None:
    fill(product, 3)
    stopping: list[EmbeddingWorker] = []
    over = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hang(_: Sequence[str]) -> None:
        token.run_sync_soon(stopping[0].stop)
        trio.from_thread.run(over.wait, trio_token=token)

    stopping.append(worker(product, FakeEncoder(fail=hang), grace_s=0.0))
    with trio.fail_after(LONG):
        statistics = await stopping[0].run()
    over.set()
    assert (statistics.done, statistics.released) == (0, 3)
    assert rows(product) == [("pending", 0, 0, 3)]
    assert product.storage.workers() == []


async def test_a_crash_stays_on_record_and_costs_an_attempt(product: Product) -> None:
    fill(product, 2)

    class Bug(FakeEncoder):
        @property
        def ready(self) -> bool:
            raise ZeroDivisionError

        @ready.setter
        def ready(self, value: bool) -> None:
            pass

    with pytest.raises(ZeroDivisionError):
        await worker(product, Bug()).process_queue()
    assert rows(product) == [("processing", 1, 1, 2)]
    (left,) = product.storage.workers()
    assert product.query("SELECT DISTINCT claimed_by FROM embed_queue") == [(left.worker_id,)]


# Serving


async def test_a_server_sees_what_another_process_writes(product: Product) -> None:
    elsewhere = KBService(product.open(), product.settings)
    events: list[Event | Gap] = []
    async with trio.open_nursery() as nursery:
        serving = worker(product)
        nursery.start_soon(serving.run)
        await until(lambda: serving.statistics().state is WorkerState.IDLE)

        @nursery.start_soon
        async def listen() -> None:
            with serving.fanout.subscribe(1) as subscription:
                while True:
                    events.extend(await subscription.take())

        for number in range(3):
            elsewhere.create_entry(KB, Draft(f"n{number}", body=str(number)))
            await until(lambda n=number: product.storage.counts().done == n + 1)
        told = product.storage.events(1, 9)  # the knowledge base was added before
        await until(lambda: len(events) == len(told))
        serving.stop()
        nursery.cancel_scope.cancel()
    assert events == told
    assert [event.type for event in told] == ["entry_created", "embed_complete"] * 3
    assert [event.entry_id for event in told] == ["n0", "n0", "n1", "n1", "n2", "n2"]
    assert product.storage.workers() == []


async def test_a_server_that_is_woken_looks_at_once(product: Product) -> None:
    async with trio.open_nursery() as nursery:
        serving = worker(product, poll_interval_s=3600.0)
        nursery.start_soon(serving.run)
        await until(lambda: serving.statistics().state is WorkerState.IDLE)
        service = KBService(product.storage, product.settings, wake=serving.wake)
        for number in range(3):
            service.create_entry(KB, Draft(f"n{number}", body=str(number)))
            await until(lambda n=number: product.storage.counts().done == n + 1)
        serving.stop()


async def test_a_cancelled_server_gives_back_what_it_holds(product: Product) -> None:
    fill(product, 20)
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def begin(_: Sequence[str]) -> None:
        token.run_sync_soon(begun.set)
        # Long enough for the cancellation to be felt: it was asked for before this returns.
        trio.from_thread.run(cancelled.wait, trio_token=token)

    cancelled = trio.Event()
    encoder = FakeEncoder(fail=begin)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker(product, encoder, batch_texts=2).run)
        with trio.fail_after(LONG):
            await begun.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        cancelled.set()
    assert len(encoder.calls) == 1
    assert rows(product) == [("done", 1, 0, 2), ("pending", 0, 0, 18)]
    assert product.storage.workers() == []


async def test_a_servers_heart_beats_while_it_lives(product: Product) -> None:
    async with trio.open_nursery() as nursery:
        serving = worker(product, lease_s=0.1)
        nursery.start_soon(serving.run)
        await until(product.storage.workers)
        (first,) = product.storage.workers()
        assert (first.pid, first.host) == (identity().pid, identity().host)
        assert first.process_started == identity().process_started
        assert first.model == "fake"
        await until(lambda: product.storage.workers()[0].heartbeat_at > first.heartbeat_at)
        assert product.storage.workers()[0].started_at == first.started_at
        serving.stop()
    assert product.storage.workers() == []


async def test_a_worker_that_does_not_run_can_be_woken(product: Product) -> None:
    idle = worker(product)
    idle.wake()
    assert idle.statistics() == Statistics()


# Several workers


async def test_two_workers_share_the_work(product: Product) -> None:
    ids = fill(product, 40)
    met = trio.Event()
    token = trio.lowlevel.current_trio_token()
    begun: set[int] = set()

    def meet(me: int) -> Callable[[Sequence[str]], None]:
        def fail(_: Sequence[str]) -> None:
            begun.add(me)
            if len(begun) == 2:
                token.run_sync_soon(met.set)
            # Neither goes on before the other has something to do as well.
            trio.from_thread.run(met.wait, trio_token=token)

        return fail

    encoders = [FakeEncoder(fail=meet(0)), FakeEncoder(fail=meet(1))]
    results: list[Statistics] = []

    async def drain(encoder: FakeEncoder, storage: Storage) -> None:
        options = {"claim_limit": 4, "batch_texts": 4}
        results.append(await worker(product, encoder, storage=storage, **options).process_queue())

    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, encoders[0], product.storage)
            nursery.start_soon(drain, encoders[1], product.open())
    assert sum(result.done for result in results) == 40
    assert all(result.done for result in results)
    texts = [text for encoder in encoders for call in encoder.calls for text in call]
    assert len(texts) == len(set(texts)) == 40
    assert all(product.is_embedded(each) for each in ids)
    assert rows(product) == [("done", 1, 0, 40)]


def held_by(product: Product, **changes: object) -> str:
    """Have another worker hold everything; returns its name."""
    me = identity()
    now = time.time()
    row = WorkerRow(
        me.worker_id, me.pid, me.host, me.process_started, now, now, "encoding", None, "fake"
    )
    row = replace(row, **changes)  # type: ignore[arg-type]
    product.storage.beat(row)
    request = ClaimRequest(row.worker_id, now, 3600.0, RetryPolicy(), limit=100)
    assert product.storage.claim(request).due
    return row.worker_id


def reaped() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


async def test_what_a_dead_worker_held_is_taken_over_at_once(product: Product) -> None:
    fill(product, 5)
    held_by(product, pid=reaped())
    with trio.fail_after(LONG):  # and not when the lease ends, in an hour
        statistics = await worker(product).process_queue()
    assert statistics.done == 5
    assert rows(product) == [("done", 2, 0, 5)]  # the attempt that was cut short counts
    assert product.storage.workers() == []


async def test_an_entry_that_kills_its_worker_each_time_fails_in_the_end(
    product: Product,
) -> None:
    fill(product, 1)
    with trio.fail_after(LONG):
        for _ in range(2):
            held_by(product, pid=reaped())
            await worker(product, FakeEncoder(fail=_keep_pending)).process_queue(kb="none")
        held_by(product, pid=reaped())
        statistics = await worker(product).process_queue()
    assert statistics.done == 0
    (failure,) = product.embedding.failures()
    assert (failure.attempts, failure.error) == (3, LEASE_EXPIRED)


def _keep_pending(_: Sequence[str]) -> None:
    raise AssertionError("nothing of this knowledge base was to be encoded")


async def test_what_a_live_worker_holds_is_left_to_it(product: Product) -> None:
    held = fill(product, 2)
    other = held_by(product)
    free = product.kbs.create_entry(KB, Draft("Free")).id
    async with trio.open_nursery() as nursery:
        serving = worker(product)
        nursery.start_soon(serving.run)
        await until(lambda: product.status(free) is Status.DONE)
        assert {product.status(each) for each in held} == {Status.PROCESSING}
        serving.stop()
    assert [each.worker_id for each in product.storage.workers()] == [other]
    assert product.query("SELECT DISTINCT claimed_by FROM embed_queue WHERE claimed_by > ''") == [
        (other,)
    ]

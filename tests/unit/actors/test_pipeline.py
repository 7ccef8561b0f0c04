"""The four actors that embed, together, over a queue in memory and an encoder by script.

Every run is within a limit of mock time, so that one that hangs fails instead.
"""

import itertools
import math
import time
from collections import Counter
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.lifecycle import RetryPolicy, Status
from actors.messages import WorkerState
from actors.packing import BatchLimits
from actors.pipeline import Pipeline, PipelineOptions, cause
from actors.ports import EncoderUnavailableError, RefusedTextError, StorageUnavailableError
from actors.retry import Patience, StorageRetry
from tests.fakes.pipeline import (
    INTERACTIVE,
    FakeQueue,
    FakeTable,
    Gate,
    ScriptedEncoder,
    Slow,
    inline,
    vector_of,
)

PENDING, PROCESSING, DONE, FAILED = Status
OPTIONS = PipelineOptions(
    claim_limit=10,
    batch=BatchLimits(texts=4, tokens=2048),
    window=16,
    beat_s=5.0,
    grace_s=10.0,
    retry=RetryPolicy(max_attempts=3, base_s=2.0, jitter=0.0),
)
#: How often the workers here look for the commits of others, as the fan-out does.
WATCH_S = 0.5
#: One attempt at the model, as in a drain from the command line.
IMPATIENT = replace(OPTIONS, patience=Patience(tries=1))
#: Texts that are on their way when the model is busy: one batch in the encoder, and a window
#: that a last group of claims may overfill, with another in the poller's hands; and reports of
#: at most three batches that are not yet committed.
MOST_IN_FLIGHT = 4 + (16 - 1 + 10) + 10 + 3 * 4
#: Of these, an edit goes behind the batch in the encoder and those that are only to be
#: committed: it overtakes the window.
MOST_BEFORE_AN_EDIT = 4 + 3 * 4


class Worker:
    """A pipeline with its queue, encoder and hops, and how its run ended."""

    def __init__(
        self,
        table,
        *,
        encoder=None,
        run_encoder=inline,
        options=OPTIONS,
        queue=None,
        run_sync=inline,
    ):
        self.table = table
        self.queue = queue or FakeQueue(table)
        self.encoder = encoder or ScriptedEncoder()
        self.pipeline = Pipeline(
            self.queue,
            self.encoder,
            options,
            lambda: self.committed.append(len(table.feed)),
            clock=trio.current_time,
            run_sync=run_sync,
            run_encoder=run_encoder,
        )
        #: How many events there were whenever the fan-out was told of a commit.
        self.committed = []
        self._watching = trio.CancelScope()
        self.ended_at = None
        self.statistics = None

    async def run(self, *, drain=False):
        # Beside the test's own tasks, so that what goes wrong is put into no group on its way.
        trio.lowlevel.spawn_system_task(self._wake_on_commits)
        try:
            with trio.fail_after(100_000):
                self.statistics = await self.pipeline.run(drain=drain)
        finally:
            self._watching.cancel()
        self.ended_at = trio.current_time()
        return self.statistics

    async def _wake_on_commits(self):
        with self._watching:
            while True:
                await trio.sleep(WATCH_S)
                if self.queue.changed():
                    self.pipeline.wake()

    async def drain(self):
        return await self.run(drain=True)

    def counts(self):
        s = self.statistics or self.pipeline.statistics()
        return {"done": s.done, "failed": s.failed, "retried": s.retried, "released": s.released}


@pytest.fixture
def table():
    """An empty table, which goes by the same clock as the pipeline: in a test, the mock clock."""
    return FakeTable(trio.current_time, OPTIONS.retry)


def fill(table, count, *texts):
    for number in range(count):
        table.write(f"e{number}", *(f"{text} of e{number}" for text in texts))


def assert_everything_is_given_back(table):
    assert table.entries(PROCESSING) == set()
    assert all(row.attempts == 0 for row in table.rows.values() if row.status is PENDING)


# Draining


async def test_a_drain_embeds_everything(table, autojump_clock):
    fill(table, 50, "first", "second")
    worker = Worker(table)
    statistics = await worker.drain()
    assert table.entries(DONE) == set(table.rows)
    texts = {text for row in table.rows.values() for text in row.texts}
    assert table.stored == {text.encode(): vector_of(text) for text in texts}
    assert Counter(worker.encoder.encoded()) == Counter(texts)  # each once
    assert set(table.ends().values()) == {1}
    assert statistics == worker.pipeline.statistics()
    assert worker.counts() == {"done": 50, "failed": 0, "retried": 0, "released": 0}
    assert (statistics.chunks, statistics.tokens, statistics.lost) == (100, 400, 0)
    assert statistics.batches == len(worker.encoder.calls)
    assert statistics.state is WorkerState.IDLE


async def test_a_drain_of_nothing_ends_at_once(table, autojump_clock):
    worker = Worker(table, encoder=ScriptedEncoder(ready=False))
    await worker.drain()
    assert worker.ended_at == 0
    assert worker.encoder.loads == 0


async def test_what_was_encoded_before_is_done_without_the_model(table, autojump_clock):
    table.stored[b"known"] = vector_of("known")
    table.write("e", "known")
    worker = Worker(table, encoder=ScriptedEncoder(ready=False))
    await worker.drain()
    assert table.entries(DONE) == {"e"}
    assert (worker.encoder.loads, worker.encoder.calls) == (0, [])


async def test_an_entry_without_text_is_done(table, autojump_clock):
    table.write("e", "x")
    table.rows["e"].texts = ()
    await Worker(table).drain()
    assert table.entries(DONE) == {"e"}


async def test_a_failure_is_tried_again_after_a_backoff(table, autojump_clock):
    fill(table, 3)
    encoder = ScriptedEncoder(poison={"e1": ValueError("cannot")}, cured_after={"e1": 2})
    worker = Worker(table, encoder=encoder)
    await worker.drain()
    assert table.entries(DONE) == {"e0", "e1", "e2"}
    assert [(e.entry_id, e.type, e.at) for e in table.feed if e.entry_id == "e1"] == [
        ("e1", "pending", 0.0),
        ("e1", "pending", pytest.approx(2.0)),
        ("e1", "done", pytest.approx(6.0)),  # 2 and then 4 seconds
    ]
    assert table.rows["e1"].attempts == 3
    assert worker.counts() == {"done": 3, "failed": 0, "retried": 2, "released": 0}


async def test_a_failure_at_the_last_attempt_is_for_good(table, autojump_clock):
    fill(table, 9)
    encoder = ScriptedEncoder(poison={"e4": ValueError("cannot")})
    worker = Worker(table, encoder=encoder)
    await worker.drain()
    assert table.entries(FAILED) == {"e4"}
    assert table.entries(DONE) == set(table.rows) - {"e4"}
    row = table.rows["e4"]
    assert (row.attempts, row.error) == (3, "ValueError: cannot")
    assert worker.counts() == {"done": 8, "failed": 1, "retried": 2, "released": 0}
    table.retry("e4")
    encoder.poison.clear()
    await Worker(table, encoder=encoder).drain()
    assert (row.status, row.attempts, row.error) == (DONE, 1, None)


async def test_a_text_refused_for_good_is_not_tried_again(table, autojump_clock):
    table.write("e", "bad")
    worker = Worker(table, encoder=ScriptedEncoder(poison={"bad": RefusedTextError("too odd")}))
    await worker.drain()
    assert (table.rows["e"].status, table.rows["e"].attempts) == (FAILED, 1)
    assert worker.encoder.calls == [("bad",)]
    assert worker.ended_at == 0


async def test_the_good_chunks_of_a_failed_entry_are_kept(table, autojump_clock):
    table.write("e", "a", "b", "bad", "c", "d", "f")
    encoder = ScriptedEncoder(poison={"bad": ValueError("cannot")}, cured_after={"bad": 1})
    await Worker(table, encoder=encoder).drain()
    assert table.entries(DONE) == {"e"}
    assert encoder.calls[-1] == ("bad",)  # the second attempt encodes nothing else
    assert table.ends() == {"e": 1}


@given(st.data())
def test_whatever_happens_every_entry_ends_as_it_should(data):
    """Sizes, failures and an absent model at random; the outcome can be told in advance."""
    numbers = itertools.count()
    texts = st.lists(st.builds(lambda: f"t{next(numbers)}"), min_size=1, max_size=5)
    entries = data.draw(st.lists(texts, max_size=15))
    every_text = [text for entry in entries for text in entry]
    failures = data.draw(
        st.dictionaries(st.sampled_from(every_text), st.integers(1, 4)) if entries else st.just({})
    )
    encoder = ScriptedEncoder(
        ready=data.draw(st.booleans()),
        poison={text: ValueError(text) for text in failures},
        cured_after=dict(failures),
        concurrency=data.draw(st.integers(1, 3)),
        loads_away=data.draw(st.integers(0, 2)),
        encodes_away=data.draw(st.integers(0, 2)),
    )

    async def main():
        table = FakeTable(trio.current_time, OPTIONS.retry)
        for number, entry in enumerate(entries):
            table.write(f"e{number}", *entry)
        await Worker(table, encoder=encoder).drain()
        return table

    table = trio.run(main, clock=MockClock(autojump_threshold=0))
    doomed, healthy = set(), set()
    for number, entry in enumerate(entries):
        # An attempt ends with the first text that fails; its other texts may, or may not, have
        # failed by then in the same attempt.
        worst, total = (f([failures.get(text, 0) for text in entry]) for f in (max, sum))
        if worst >= 3:
            doomed.add(f"e{number}")
        elif total < 3:
            healthy.add(f"e{number}")
    assert table.ends() == Counter(table.rows.keys())  # everyone, and each once
    assert doomed <= table.entries(FAILED)
    assert healthy <= table.entries(DONE)


# The order of work


async def test_an_edit_overtakes_bulk_work(table, autojump_clock):
    fill(table, 500)
    worker = Worker(table, run_encoder=Slow(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.drain)
        await trio.sleep(20.5)
        before_the_edit = len(table.feed)
        table.write("edit", priority=INTERACTIVE)
        worker.pipeline.wake()
    order = [event.entry_id for event in table.feed]
    assert len(order) == 501
    assert order.index("edit") - before_the_edit <= MOST_BEFORE_AN_EDIT
    assert before_the_edit + MOST_IN_FLIGHT < 200


async def test_a_lone_edit_is_embedded_at_once(table, autojump_clock):
    worker = Worker(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(100.2)
        table.write("edit", priority=INTERACTIVE)
        worker.pipeline.wake()
        await wait_all_tasks_blocked()
        assert table.rows["edit"].status is DONE
        worker.pipeline.stop()
    assert [(e.entry_id, e.at) for e in table.feed] == [("edit", pytest.approx(100.2))]


async def test_a_write_of_another_process_is_seen_at_the_next_poll(table, autojump_clock):
    worker = Worker(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(100.2)
        table.write("edit")
        await trio.sleep(WATCH_S)
        assert table.rows["edit"].status is DONE
        worker.pipeline.stop()


async def test_little_is_in_flight_however_much_is_due(table, autojump_clock):
    fill(table, 10_000)
    worker, most = Worker(table, run_encoder=Slow(1.0)), 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        for _ in range(100):
            await trio.sleep(0.5)
            most = max(most, table.count(PROCESSING))
        worker.pipeline.stop()
    assert 16 < most <= MOST_IN_FLIGHT
    assert table.count(PENDING) + table.count(DONE) == 10_000


# Writes and other workers


async def test_a_write_during_the_encode_is_embedded_again(table, autojump_clock):
    gate = Gate()
    table.write("e", "old")
    worker = Worker(table, run_encoder=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.drain)
        await gate.wait_entered()
        table.write("e", "new")
        gate.open()
    assert table.rows["e"].status is DONE
    assert vector_of("new") in table.stored.values()
    assert [(e.entry_id, e.revision) for e in table.feed] == [("e", 2)]
    assert (worker.statistics.done, worker.statistics.lost) == (1, 1)


async def test_two_workers_share_the_queue(table, autojump_clock):
    fill(table, 300)
    workers = [Worker(table, run_encoder=Slow(seconds)) for seconds in (1.0, 1.3)]
    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(worker.drain)
    assert table.ends() == Counter(table.rows.keys())
    assert sum(worker.statistics.done for worker in workers) == 300
    assert all(worker.statistics.done > 100 for worker in workers)
    assert all(worker.statistics.lost == 0 for worker in workers)


async def test_a_drain_waits_for_what_another_worker_holds(table, autojump_clock):
    table.write("e")
    gate = Gate()
    holder, waiter = Worker(table, run_encoder=gate), Worker(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(holder.run)
        await gate.wait_entered()
        nursery.start_soon(waiter.drain)
        await trio.sleep(60)  # longer than a lease, which the holder renews
        assert waiter.ended_at is None
        gate.open()
        await trio.sleep(2 * WATCH_S)
        assert waiter.ended_at is not None
        holder.pipeline.stop()
    assert (holder.statistics.done, waiter.statistics.done) == (1, 0)


async def test_a_worker_that_vanished_costs_an_attempt_and_a_lease(table, autojump_clock):
    fill(table, 5)
    gone = FakeQueue(table, lease_s=15.0)
    gone.claim(3)
    worker = Worker(table)
    await worker.drain()
    assert worker.ended_at == pytest.approx(15)
    assert table.entries(DONE) == set(table.rows)
    assert [table.rows[f"e{n}"].attempts for n in range(5)] == [2, 2, 2, 1, 1]


# Stopping


async def test_a_stop_commits_the_batch_in_progress_and_gives_back_the_rest(table, autojump_clock):
    fill(table, 100)
    gate = Gate()
    worker = Worker(table, run_encoder=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await gate.wait_entered()
        await wait_all_tasks_blocked()
        on_their_way = table.entries(PROCESSING)
        worker.pipeline.stop()
        worker.pipeline.stop()  # once more changes nothing
        assert worker.pipeline.statistics().state is WorkerState.STOPPING
        await trio.sleep(3)
        assert worker.ended_at is None
        gate.open()
    assert worker.ended_at == 3
    [batch] = worker.encoder.calls
    assert table.entries(DONE) == set(batch)
    assert set(worker.queue.released) == on_their_way - set(batch)
    assert len(worker.queue.released) == len(on_their_way) - len(batch) > 0
    assert_everything_is_given_back(table)
    assert worker.counts() == {
        "done": len(batch),
        "failed": 0,
        "retried": 0,
        "released": len(worker.queue.released),
    }


async def test_a_stop_keeps_the_attempts_of_earlier_failures(table, autojump_clock):
    table.write("e", "bad")
    gate = Gate()
    gate.open()
    worker = Worker(table, encoder=ScriptedEncoder(poison={"bad": ValueError("cannot")}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(1)  # one failure; the next attempt is due after 2 seconds
        worker.pipeline.stop()
    row = table.rows["e"]
    assert (row.status, row.attempts, row.available_at) == (PENDING, 1, 2.0)
    assert worker.queue.released == []
    # The next worker claims it, hangs, and gives it back as it was.
    worker = Worker(table, run_encoder=Gate(), options=replace(OPTIONS, grace_s=1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(5)
        assert (row.status, row.attempts) == (PROCESSING, 2)
        worker.pipeline.stop()
    assert (row.status, row.attempts) == (PENDING, 1)


async def test_a_stop_while_idle_returns_at_once(table, autojump_clock):
    worker = Worker(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(7)
        worker.pipeline.stop()
    assert worker.ended_at == 7
    assert worker.queue.released == []


async def test_a_stop_before_the_run_claims_nothing(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table)
    worker.pipeline.stop()
    await worker.run()
    assert worker.ended_at == 0
    assert table.entries(PENDING) == set(table.rows)
    assert worker.encoder.calls == []


async def test_a_stop_of_a_drain_ends_it_too(table, autojump_clock):
    fill(table, 100)
    worker = Worker(table, run_encoder=Slow(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.drain)
        await trio.sleep(2.5)
        worker.pipeline.stop()
    assert worker.ended_at == 3
    assert 0 < table.count(DONE) < 100
    assert_everything_is_given_back(table)


async def test_a_stop_while_the_model_loads_does_not_wait_for_it(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, encoder=ScriptedEncoder(ready=False), run_encoder=Gate())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(2)
        assert worker.pipeline.statistics().state is WorkerState.LOADING
        worker.pipeline.stop()
    assert worker.ended_at == 2
    assert sorted(worker.queue.released) == sorted(table.rows)
    assert_everything_is_given_back(table)


async def test_a_call_that_hangs_is_left_when_the_grace_is_over(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, run_encoder=Gate())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(5)
        worker.pipeline.stop()
    assert worker.ended_at == 5 + OPTIONS.grace_s
    assert sorted(worker.queue.released) == sorted(table.rows)
    assert len(worker.pipeline._in_flight) == 0
    assert_everything_is_given_back(table)


async def test_a_cancellation_is_a_graceful_stop_and_is_felt_after_it(table, autojump_clock):
    fill(table, 100)
    gate = Gate()
    worker = Worker(table, run_encoder=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await gate.wait_entered()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        gate.open()
    assert worker.ended_at is None  # the run did not return: it was cancelled
    [batch] = worker.encoder.calls
    assert table.entries(DONE) == set(batch)
    assert len(worker.queue.released) > 0
    assert_everything_is_given_back(table)


async def test_a_cancellation_comes_out_bare(table, autojump_clock):
    """Whoever runs the pipeline catches Cancelled to clean up, and no group of it."""
    felt = None
    with trio.move_on_after(3) as scope:
        try:
            await Worker(table).pipeline.run()
        except BaseException as error:
            felt = error
            raise
    assert scope.cancelled_caught
    assert type(felt) is trio.Cancelled


async def test_a_cancellation_has_the_same_grace(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, run_encoder=Gate())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert worker.ended_at is None
    assert trio.current_time() == 5 + OPTIONS.grace_s
    assert sorted(worker.queue.released) == sorted(table.rows)


@pytest.mark.parametrize("stopped_at", [3, None])
async def test_a_time_out_of_the_caller_takes_effect_as_such(table, autojump_clock, stopped_at):
    """A grace period on top would swallow it, whether the stop had begun before or not."""
    fill(table, 10)
    worker = Worker(table, run_encoder=Gate())

    async def stop():
        await trio.sleep(stopped_at or math.inf)
        worker.pipeline.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            await worker.run()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 5
    assert sorted(worker.queue.released) == sorted(table.rows)
    assert_everything_is_given_back(table)


async def test_what_a_poller_claims_during_a_stop_is_given_back(table, autojump_clock):
    class Claims(Gate):
        async def __call__(self, sync_fn, *args, **options):
            if sync_fn.__name__ != "claim":
                return await inline(sync_fn, *args)
            return await super().__call__(sync_fn, *args, **options)

    fill(table, 10)
    gate = Claims()
    worker = Worker(table, run_sync=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await gate.wait_entered()
        worker.pipeline.stop()
        gate.open()
    assert sorted(worker.queue.released) == sorted(table.rows)
    assert worker.encoder.calls == []
    assert_everything_is_given_back(table)


# Pause, rest, and what can be changed meanwhile


def shown(worker):
    """The states that other processes have been told, each once in a row."""
    return [state for state, _ in itertools.groupby(s.state for _, s in worker.queue.beats)]


async def test_a_pause_finishes_what_is_in_flight_and_claims_nothing_more(table, autojump_clock):
    fill(table, 100)
    worker = Worker(table, run_encoder=Slow(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(2.5)
        worker.pipeline.pause(True)
        in_flight = table.entries(PROCESSING)
        done = table.entries(DONE)
        await trio.sleep(1000)
        assert table.entries(PROCESSING) == set()
        # What the poller was about to hand over had been claimed before.
        assert table.entries(DONE) >= in_flight | done
        assert len(table.entries(DONE)) <= MOST_IN_FLIGHT + len(done) < 100
        assert worker.pipeline.statistics().state is WorkerState.PAUSED
        assert shown(worker)[-1] is WorkerState.PAUSED
        assert worker.queue.released == []
        table.write("edit", "urgent", priority=INTERACTIVE)
        await trio.sleep(1000)
        assert table.rows["edit"].status is PENDING
        worker.pipeline.pause(False)
        await trio.sleep(1000)
        assert table.entries(DONE) == set(table.rows)
        assert shown(worker)[-1] is WorkerState.IDLE
        worker.pipeline.stop()


async def test_a_pause_is_told_at_once(table, autojump_clock):
    worker = Worker(table, options=replace(OPTIONS, beat_s=1000.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(5)
        worker.pipeline.pause(True)
        await trio.sleep(5)
        worker.pipeline.pause(False)
        await trio.sleep(5)
        worker.pipeline.stop()
    beats = [(at, s.state) for at, s in worker.queue.beats]
    assert beats == [(0, WorkerState.IDLE), (5, WorkerState.PAUSED), (10, WorkerState.IDLE)]


async def test_a_worker_can_begin_with_a_pause_and_stop_in_it(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, encoder=ScriptedEncoder(ready=False))
    worker.pipeline.pause(True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(100)
        assert worker.pipeline.statistics().state is WorkerState.PAUSED
        assert worker.encoder.loads == 0
        worker.pipeline.stop()
    assert worker.ended_at == 100
    assert table.entries(PENDING) == set(table.rows)


async def test_a_drain_waits_for_the_end_of_a_pause(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table)
    worker.pipeline.pause(True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.drain)
        await trio.sleep(100)
        assert worker.ended_at is None
        worker.pipeline.pause(False)
    assert table.entries(DONE) == set(table.rows)


async def test_the_model_is_unloaded_at_rest_and_loaded_for_the_next_entry(table, autojump_clock):
    options = replace(OPTIONS, idle_unload_s=300.0)
    worker = Worker(table, encoder=ScriptedEncoder(ready=False), options=options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        table.write("e1", "one")
        await trio.sleep(1000)
        [unloaded] = worker.encoder.unloads
        assert unloaded == pytest.approx(300, abs=WATCH_S)
        table.write("e2", "two")
        await trio.sleep(100)
        assert table.entries(DONE) == {"e1", "e2"}
        assert worker.encoder.loads == 2
        # A pause gives the memory back as well, and is still said to be one.
        worker.pipeline.pause(True)
        await trio.sleep(1000)
        assert not worker.encoder.ready
        assert worker.pipeline.statistics().state is WorkerState.PAUSED
        worker.pipeline.stop()
    assert shown(worker)[-1] is WorkerState.PAUSED


async def test_batches_and_the_rest_can_be_changed(table, autojump_clock):
    fill(table, 100)
    worker = Worker(table, run_encoder=Slow(1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(2.5)
        worker.pipeline.tune(BatchLimits(texts=20), window=160, idle_unload_s=50.0)
        await trio.sleep(200)
        assert table.entries(DONE) == set(table.rows)
        worker.pipeline.stop()
    sizes = list(map(len, worker.encoder.calls))
    # What was composed before, one batch on its way included, is as it was.
    assert sizes[:3] == [4, 4, 4]
    assert max(sizes) == 20
    assert len(worker.encoder.unloads) == 1


# The model away


@pytest.mark.parametrize("away", ["loads_away", "encodes_away"])
async def test_a_drain_without_a_model_says_so_and_charges_nobody(table, autojump_clock, away):
    fill(table, 100)
    encoder = ScriptedEncoder(ready=away != "loads_away", **{away: 1})
    worker = Worker(table, encoder=encoder, options=IMPATIENT)
    with pytest.raises(EncoderUnavailableError):  # itself, and not in a group
        await worker.drain()
    assert table.entries(PENDING) == set(table.rows)
    assert len(worker.queue.released) > 0
    assert_everything_is_given_back(table)
    assert worker.counts()["released"] == len(worker.queue.released)


async def test_what_was_done_before_the_model_left_is_kept(table, autojump_clock):
    class LeavesLater(ScriptedEncoder):
        def encode(self, texts):
            self.encodes_away = int(len(self.calls) == 5)
            return super().encode(texts)

    fill(table, 100)
    worker = Worker(table, encoder=LeavesLater(), run_encoder=Slow(1.0), options=IMPATIENT)
    with pytest.raises(EncoderUnavailableError):
        await worker.drain()
    done = {text for call in worker.encoder.calls[:5] for text in call}
    assert table.entries(DONE) == done
    assert table.entries(PENDING) == set(table.rows) - done
    assert_everything_is_given_back(table)


async def test_a_service_without_a_model_is_degraded_and_recovers(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, encoder=ScriptedEncoder(ready=False, loads_away=6))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(40)
        statistics = worker.pipeline.statistics()
        assert statistics.state is WorkerState.DEGRADED
        assert statistics.reason == "no model in the cupboard"
        assert worker.queue.beats[-1][1].state is WorkerState.DEGRADED
        # Held meanwhile, beyond the first lease, and by nobody else.
        assert table.entries(PROCESSING) == set(table.rows)
        await trio.sleep(60)
        assert table.entries(DONE) == set(table.rows)
        assert worker.pipeline.statistics().state is WorkerState.IDLE
        worker.pipeline.stop()
    assert {row.attempts for row in table.rows.values()} == {1}


async def test_a_stop_while_degraded_returns_at_once(table, autojump_clock):
    fill(table, 10)
    patience = Patience(base_s=1000, cap_s=1000)
    worker = Worker(
        table,
        encoder=ScriptedEncoder(ready=False, loads_away=9),
        options=replace(OPTIONS, patience=patience),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(5)
        worker.pipeline.stop()
    assert worker.ended_at == 5
    assert sorted(worker.queue.released) == sorted(table.rows)
    assert_everything_is_given_back(table)


# Bugs


def a_bug():
    raise KeyError("bug")


@pytest.mark.parametrize("where", ["claim", "settle"])
@pytest.mark.parametrize("drain", [True, False])
async def test_a_bug_stops_the_run_and_comes_out_as_itself(table, autojump_clock, where, drain):
    fill(table, 100)
    worker = Worker(table)
    worker.queue.fail_points[where] = a_bug
    with pytest.raises(KeyError, match="bug"):  # itself, and not in a group
        await worker.run(drain=drain)
    assert worker.queue.released == []
    assert (table.count(PROCESSING) > 0) == (where == "settle")


async def test_a_bug_in_a_beat_is_one_too(table, autojump_clock):
    fill(table, 100)
    worker = Worker(table, run_encoder=Gate())
    worker.queue.renew = lambda claims: claims and a_bug()
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True, allow_unwrapped=True):
        await worker.run()
    assert worker.queue.released == []


async def test_a_bug_is_not_hidden_by_a_cancellation(table, autojump_clock):
    fill(table, 10)
    worker = Worker(table, run_encoder=Slow(5.0))
    worker.queue.fail_points["settle"] = a_bug
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="bug")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await trio.sleep(2)  # in the middle of the call whose result cannot be committed
            nursery.cancel_scope.cancel()


async def test_a_bug_in_giving_back_comes_out_as_itself(table, autojump_clock):
    fill(table, 10)
    gate = Gate()
    worker = Worker(table, run_encoder=gate, options=replace(OPTIONS, grace_s=0.0))
    worker.queue.fail_points["release"] = a_bug
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="bug")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await gate.wait_entered()
            worker.pipeline.stop()


async def test_what_a_bug_left_behind_costs_an_attempt(table, autojump_clock):
    fill(table, 3)
    worker = Worker(table)
    worker.queue.fail_points["settle"] = a_bug
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True, allow_unwrapped=True):
        await worker.drain()
    await Worker(table).drain()
    assert {(row.status, row.attempts) for row in table.rows.values()} == {(DONE, 2)}


def test_the_cause_is_told_from_its_consequences():
    bug, other, gone = KeyError("bug"), ValueError("other"), trio.BrokenResourceError()
    assert cause(ExceptionGroup("", [ExceptionGroup("", [bug]), gone])) is bug
    assert cause(ExceptionGroup("", [gone])) is gone
    both = cause(ExceptionGroup("", [ExceptionGroup("", [bug, gone]), other]))
    assert isinstance(both, ExceptionGroup)
    assert both.subgroup(KeyError)
    assert both.subgroup(ValueError)
    assert not both.subgroup(trio.BrokenResourceError)


# The feed and the beats


async def test_the_fan_out_is_told_of_each_commit_that_brought_events(table, autojump_clock):
    fill(table, 20)
    worker = Worker(table, encoder=ScriptedEncoder(poison={"e7": RefusedTextError("never")}))
    await worker.drain()
    assert worker.committed == sorted(set(worker.committed))  # never for nothing
    assert worker.committed[-1] == len(table.feed) == 20
    assert {e.entry_id for e in table.feed if e.type == "failed"} == {"e7"}


async def test_leases_are_renewed_while_the_model_is_busy(table, autojump_clock):
    fill(table, 100)
    worker = Worker(table, run_encoder=Slow(100.0))  # far longer than a lease
    other = FakeQueue(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(50)
        held = table.entries(PROCESSING)
        assert other.claim(0).claims == ()  # looks for expired leases, and finds none
        assert table.entries(PROCESSING) == held
        worker.pipeline.stop()
    assert all(row.error is None for row in table.rows.values())


async def test_the_heart_beats_while_there_is_nothing_to_do(table, autojump_clock):
    worker = Worker(table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.sleep(12)
        worker.pipeline.stop()
    assert [(at, s.state) for at, s in worker.queue.beats] == [
        (at, WorkerState.IDLE) for at in (0, 5, 10)
    ]


async def test_threads_are_the_default_way_off_the_loop():
    """The one run with real threads, and so without a mock clock; nothing in it waits."""
    table = FakeTable(time.time, OPTIONS.retry)
    fill(table, 20)
    queue = FakeQueue(table)
    pipeline = Pipeline(queue, ScriptedEncoder(), OPTIONS)
    statistics = await pipeline.run(drain=True)
    assert statistics.done == 20


# A database that is unavailable for a while


def locks(queue, *where, since=0.0, until=math.inf):
    """Have these methods of the queue find the database locked for a time."""

    def check():
        if since <= trio.current_time() < until:
            raise StorageUnavailableError("database is locked")

    queue.fail_points |= dict.fromkeys(where, check)


@pytest.mark.parametrize("where", ["claim", "settle"])
async def test_an_outage_charges_nobody_and_is_over_by_itself(
    table, nursery, autojump_clock, where
):
    fill(table, 200, "text")
    queue = FakeQueue(table, lease_s=60)
    worker = Worker(table, queue=queue, run_encoder=Slow(0.5))
    locks(queue, where, since=2, until=30)
    nursery.start_soon(worker.run)
    await trio.sleep(20)
    said = worker.pipeline.statistics()
    assert said.state is WorkerState.DEGRADED
    assert said.reason == "the database is unavailable: database is locked"
    assert table.entries(DONE) != set(table.rows)
    await trio.sleep(100)
    assert table.entries(DONE) == set(table.rows)
    assert all(row.attempts == 1 for row in table.rows.values())
    assert set(table.ends().values()) == {1}
    assert worker.pipeline.statistics().state is WorkerState.IDLE
    worker.pipeline.stop()


@pytest.mark.parametrize("where", [["claim", "settle"], ["claim", "settle", "release"]])
async def test_a_stop_does_not_wait_for_the_end_of_an_outage(table, nursery, autojump_clock, where):
    fill(table, 50, "text")
    worker = Worker(table, run_encoder=Slow(0.5))
    locks(worker.queue, *where, since=2)
    nursery.start_soon(worker.run)
    await trio.sleep(20)
    worker.pipeline.stop()
    await trio.sleep(OPTIONS.grace_s + 1)
    assert worker.ended_at == 20 + OPTIONS.grace_s
    if "release" in where:
        assert table.entries(PROCESSING)  # until their leases expire
    else:
        assert_everything_is_given_back(table)


async def test_a_drain_without_patience_gives_back_what_it_holds(table, autojump_clock):
    fill(table, 50, "text")
    worker = Worker(table)
    worker.pipeline.retry = StorageRetry(patience=Patience(tries=1))
    locks(worker.queue, "settle")
    with pytest.raises(StorageUnavailableError, match="locked"):
        await worker.drain()
    assert_everything_is_given_back(table)

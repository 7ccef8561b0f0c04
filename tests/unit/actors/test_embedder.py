"""The embedder alone: it isolates the text at fault, and waits for a model that is away."""

import itertools
import math
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.embedder import Rest, embedder, refusal
from actors.messages import Batch, Report, StateChange, WorkerState
from actors.ports import EncoderUnavailableError, RefusedTextError
from actors.retry import Patience
from tests.fakes.pipeline import (
    Gate,
    ScriptedEncoder,
    Slow,
    claim,
    inline,
    pieces,
    vector_of,
)

TEXTS = [f"t{n}" for n in range(8)]
LOADING, ENCODING = StateChange(WorkerState.LOADING), StateChange(WorkerState.ENCODING)
DEGRADED = WorkerState.DEGRADED


@dataclass
class Embedding:
    """An embedder with everything it touches, and what it said and when."""

    encoder: ScriptedEncoder
    run_sync: object = inline
    patience: Patience = Patience()
    rest: Rest = field(default_factory=Rest)
    stopping: trio.Event = field(default_factory=trio.Event)
    said: list = field(default_factory=list)
    ended_at: float | None = None

    async def run(self, *batches, waits=()):
        """Let it encode these batches; returns when it has ended.

        ``waits`` are the seconds to pass before each batch, and before the end.
        """
        to_embedder, from_batcher = trio.open_memory_channel(math.inf)
        to_reporter, from_embedder = trio.open_memory_channel(0)

        async def send():
            with to_embedder:
                for batch, wait in itertools.zip_longest(batches, waits):
                    if wait:
                        await trio.sleep(wait)
                    if batch:
                        to_embedder.send_nowait(batch)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(
                partial(
                    embedder,
                    from_batcher,
                    to_reporter,
                    encoder=self.encoder,
                    run_sync=self.run_sync,
                    stopping=self.stopping,
                    patience=self.patience,
                    rest=self.rest,
                    asked=trio.Semaphore(0),
                )
            )
            async for message in from_embedder:
                self.said.append((trio.current_time(), message))
        self.ended_at = trio.current_time()

    @property
    def reports(self):
        return [message for _, message in self.said if isinstance(message, Report)]

    @property
    def changes(self):
        return [message for _, message in self.said if isinstance(message, StateChange)]

    def times(self, state):
        return [at for at, m in self.said if isinstance(m, StateChange) and m.state is state]


def batch_of(*texts):
    """One claim's texts."""
    return Batch(pieces(claim("e", *texts)))


def texts_of(results):
    return [result.piece.chunk.text for result in results]


# Success


async def test_it_encodes_a_batch_in_one_call(autojump_clock):
    batch = batch_of(*TEXTS)
    embedding = Embedding(ScriptedEncoder())
    await embedding.run(batch)
    [report] = embedding.reports
    assert [e.piece for e in report.encoded] == list(batch.pieces)
    assert [e.vector for e in report.encoded] == list(map(vector_of, TEXTS))
    assert report.refused == ()
    assert embedding.encoder.calls == [tuple(TEXTS)]
    assert embedding.changes == [ENCODING]


async def test_each_batch_has_its_report_in_order(autojump_clock):
    embedding = Embedding(ScriptedEncoder())
    await embedding.run(batch_of("a"), batch_of("b", "c"), batch_of("d"))
    assert [texts_of(r.encoded) for r in embedding.reports] == [["a"], ["b", "c"], ["d"]]


async def test_ready_claims_are_passed_on_without_a_call(autojump_clock):
    ready = (claim("x"), claim("y"))
    embedding = Embedding(ScriptedEncoder(ready=False))
    await embedding.run(Batch(ready=ready))
    assert embedding.said == [(0, Report(ready=ready))]
    assert (embedding.encoder.calls, embedding.encoder.loads) == ([], 0)


async def test_it_loads_once_and_only_when_there_is_something_to_encode(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False))
    await embedding.run(batch_of("a"), batch_of("b"))
    assert embedding.encoder.loads == 1
    assert embedding.changes == [LOADING, ENCODING, ENCODING]


async def test_the_time_of_every_call_is_counted(autojump_clock, monkeypatch):
    seconds = SimpleNamespace(perf_counter=itertools.count().__next__)  # one between two looks
    monkeypatch.setattr("actors.embedder.time", seconds)
    embedding = Embedding(ScriptedEncoder(poison={"b": ValueError("cannot")}))
    await embedding.run(batch_of("a", "b"), batch_of("c"))
    assert [report.encode_s for report in embedding.reports] == [3.0, 1.0]


# The text at fault


@pytest.mark.parametrize("culprit", TEXTS)
async def test_halving_isolates_the_text_at_fault(autojump_clock, culprit):
    encoder = ScriptedEncoder(poison={culprit: ValueError("cannot")})
    embedding = Embedding(encoder)
    await embedding.run(batch_of(*TEXTS))
    [report] = embedding.reports
    assert texts_of(report.refused) == [culprit]
    assert texts_of(report.encoded) == [text for text in TEXTS if text != culprit]
    # 8 fails, and so does one of 4, of 2, of 1; the other half of each succeeds.
    assert len(encoder.calls) == 1 + 2 * math.log2(len(TEXTS))


@given(st.integers(1, 20), st.data())
def test_any_number_at_fault_and_every_neighbour_succeeds(count, data):
    texts = [f"t{n}" for n in range(count)]
    culprits = data.draw(st.sets(st.sampled_from(texts)))
    encoder = ScriptedEncoder(poison=dict.fromkeys(culprits, ValueError("cannot")))

    async def main():
        embedding = Embedding(encoder)
        await embedding.run(batch_of(*texts))
        return embedding.reports

    [report] = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert texts_of(report.refused) == [text for text in texts if text in culprits]
    assert texts_of(report.encoded) == [text for text in texts if text not in culprits]
    # A binary tree with one leaf for each text, of which only failing nodes have children.
    assert len(encoder.calls) <= 1 + 2 * len(culprits) * math.ceil(math.log2(max(count, 2)))
    assert len(encoder.calls) <= 2 * count - 1


async def test_a_text_that_fails_only_in_company_is_not_refused(autojump_clock):
    class TooMuchAtOnce(ScriptedEncoder):
        def encode(self, texts):
            if len(texts) > 2:
                raise MemoryError("out of memory")
            return super().encode(texts)

    embedding = Embedding(TooMuchAtOnce())
    await embedding.run(batch_of(*TEXTS))
    [report] = embedding.reports
    assert (texts_of(report.encoded), report.refused) == (TEXTS, ())


async def test_a_poisoned_batch_does_not_touch_the_next(autojump_clock):
    embedding = Embedding(ScriptedEncoder(poison={"bad": ValueError("cannot")}))
    await embedding.run(batch_of("bad"), batch_of("good"))
    bad, good = embedding.reports
    assert (texts_of(bad.refused), bad.encoded) == (["bad"], ())
    assert (texts_of(good.encoded), good.refused) == (["good"], ())


@pytest.mark.parametrize(
    ("error", "message", "retryable"),
    [
        (ValueError("too odd"), "ValueError: too odd", True),
        (MemoryError(), "MemoryError", True),
        (RefusedTextError("never"), "RefusedTextError: never", False),
    ],
)
async def test_the_error_is_told_and_judged(autojump_clock, error, message, retryable):
    embedding = Embedding(ScriptedEncoder(poison={"bad": error}))
    await embedding.run(batch_of("bad"))
    [refused] = embedding.reports[0].refused
    assert (refused.error, refused.retryable) == (message, retryable)
    assert refused == refusal(refused.piece, error)


@pytest.mark.parametrize("returned", [0, 1, 3])
async def test_a_wrong_number_of_vectors_is_not_silent(autojump_clock, returned):
    """A piece without a vector would keep its claim in flight, and a drain going, for ever."""

    class Miscounting(ScriptedEncoder):
        def encode(self, texts):
            return list(map(vector_of, ["x"] * returned))

    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        await Embedding(Miscounting()).run(batch_of("a", "b"))


# The model away


async def test_a_model_that_cannot_be_loaded_is_waited_for(autojump_clock):
    encoder = ScriptedEncoder(ready=False, loads_away=4)
    embedding = Embedding(encoder, patience=Patience(base_s=1, cap_s=5))
    batch = batch_of("a", "b")
    await embedding.run(batch)
    assert embedding.times(DEGRADED) == [0, 1, 3, 7]
    assert embedding.times(WorkerState.ENCODING) == [12]  # 1 + 2 + 4, and the cap of 5
    assert StateChange(DEGRADED, "no model in the cupboard") in embedding.changes
    [report] = embedding.reports
    assert (texts_of(report.encoded), report.refused) == (["a", "b"], ())
    assert encoder.loads == 5


async def test_a_model_that_leaves_in_a_call_is_waited_for(autojump_clock):
    embedding = Embedding(ScriptedEncoder(encodes_away=2))
    await embedding.run(batch_of("a", "b"), batch_of("c"))
    assert embedding.times(DEGRADED) == [0, 1]
    assert embedding.encoder.calls == [("a", "b")] * 3 + [("c",)]
    assert [texts_of(r.encoded) for r in embedding.reports] == [["a", "b"], ["c"]]
    assert [r.refused for r in embedding.reports] == [(), ()]


async def test_it_resumes_in_the_middle_of_a_halved_batch(autojump_clock):
    class LeavesInTheMiddle(ScriptedEncoder):
        def encode(self, texts):
            if len(self.calls) == 2:
                self.encodes_away = 1
            return super().encode(texts)

    encoder = LeavesInTheMiddle(poison={"c": ValueError("cannot")})
    embedding = Embedding(encoder)
    await embedding.run(batch_of("a", "b", "c", "d"))
    assert encoder.calls == [
        ("a", "b", "c", "d"),
        ("a", "b"),
        ("c", "d"),  # away
        ("c", "d"),
        ("c",),
        ("d",),
    ]
    [report] = embedding.reports
    assert (texts_of(report.encoded), texts_of(report.refused)) == (["a", "b", "d"], ["c"])


async def test_the_next_batch_finds_fresh_patience(autojump_clock):
    class Flickering(ScriptedEncoder):
        def encode(self, texts):
            self.encodes_away = 1 - len(self.calls) % 2
            return super().encode(texts)

    embedding = Embedding(Flickering(), patience=Patience(base_s=1, tries=2))
    await embedding.run(batch_of("a"), batch_of("b"), batch_of("c"))
    assert embedding.times(DEGRADED) == [0, 1, 2]
    assert len(embedding.reports) == 3


@pytest.mark.parametrize(("tries", "raised_at"), [(1, 0), (2, 1), (4, 7)])
@pytest.mark.parametrize("away", ["loads_away", "encodes_away"])
async def test_patience_has_an_end(autojump_clock, tries, raised_at, away):
    encoder = ScriptedEncoder(ready=away != "loads_away", **{away: math.inf})
    embedding = Embedding(encoder, patience=Patience(base_s=1, tries=tries))
    with pytest.RaisesGroup(EncoderUnavailableError):
        await embedding.run(batch_of("a"))
    assert trio.current_time() == raised_at
    assert (encoder.loads or len(encoder.calls)) == tries
    assert embedding.reports == []


@given(st.integers(1, 10**30), st.floats(0.01, 100), st.floats(100, 1000))
def test_the_delay_doubles_up_to_the_cap(tried, base_s, cap_s):
    patience = Patience(base_s, cap_s)
    assert patience.delay(1) == base_s
    assert patience.delay(tried + 1) == min(cap_s, 2 * patience.delay(tried))


async def test_a_load_that_is_a_bug_is_not_waited_for(autojump_clock):
    class Broken(ScriptedEncoder):
        def load(self):
            raise KeyError("bug")

    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        await Embedding(Broken(ready=False)).run(batch_of("a"))


# Lanes


def by_length():
    """A hop whose calls take as many seconds as their texts have characters."""

    async def slow(sync_fn, *args, abandon_on_cancel=False):
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=not abandon_on_cancel):
            await trio.sleep(sum(map(len, args[0])) if args else 0)
        return sync_fn(*args)

    return slow


@pytest.mark.parametrize(("concurrency", "ends_at"), [(1, 40), (2, 20), (3, 20), (4, 10)])
async def test_as_many_calls_at_a_time_as_the_encoder_does_well_with(
    autojump_clock, concurrency, ends_at
):
    embedding = Embedding(ScriptedEncoder(concurrency=concurrency), run_sync=Slow(10))
    await embedding.run(*[batch_of(text) for text in "abcd"])
    assert embedding.ended_at == ends_at
    assert sorted(texts_of(r.encoded)[0] for r in embedding.reports) == list("abcd")


async def test_how_many_is_known_when_it_is_loaded_and_may_change(autojump_clock):
    class Changing(ScriptedEncoder):
        def load(self):
            super().load()
            self.concurrency = 2

        def encode(self, texts):
            if trio.current_time() >= 30:
                self.concurrency = 1
            return super().encode(texts)

    embedding = Embedding(Changing(ready=False), run_sync=Slow(10))
    await embedding.run(*[batch_of(text) for text in "abcdef"])
    # Loading until 10, two at a time until 30, and one at a time after those that had begun.
    assert [at for at, m in embedding.said if isinstance(m, Report)] == [20, 20, 30, 30, 40, 50]


async def test_calls_side_by_side_share_their_time(autojump_clock, monkeypatch):
    monkeypatch.setattr("actors.embedder.time", SimpleNamespace(perf_counter=trio.current_time))
    embedding = Embedding(ScriptedEncoder(concurrency=2), run_sync=by_length())
    await embedding.run(batch_of("a" * 10), batch_of("b" * 4), batch_of("c" * 3), waits=(1,))
    assert [(r.took_s, r.encode_s) for r in embedding.reports] == [(4, 4), (3, 3), (10, 3)]
    assert embedding.ended_at == 11


async def test_there_is_no_rest_while_another_lane_encodes(autojump_clock):
    embedding = Embedding(ScriptedEncoder(concurrency=2), run_sync=by_length(), rest=Rest(300))
    await embedding.run(batch_of("a"), batch_of("b" * 1000), waits=(0, 0, 5000))
    assert [texts_of(r.encoded)[0][0] for r in embedding.reports] == ["a", "b"]
    (unloaded_at,) = embedding.encoder.unloads
    assert unloaded_at > 1000


async def test_a_stop_lets_every_call_in_progress_finish(autojump_clock):
    embedding = Embedding(ScriptedEncoder(concurrency=2), run_sync=Slow(10))
    await stop_at(embedding, 5, batch_of("a"), batch_of("b"))
    assert sorted(texts_of(r.encoded)[0] for r in embedding.reports) == ["a", "b"]


async def test_a_model_away_is_one_error_however_many_lanes_find_it(autojump_clock):
    encoder = ScriptedEncoder(concurrency=2, encodes_away=math.inf)
    embedding = Embedding(encoder, run_sync=Slow(10), patience=Patience(tries=1))
    with pytest.RaisesGroup(EncoderUnavailableError):
        await embedding.run(batch_of("a"), batch_of("b"))
    assert len(encoder.calls) >= 1
    assert embedding.reports == []


# Stopping


async def stop_at(embedding, seconds, *batches):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(embedding.run, *batches)
        await trio.sleep(seconds)
        embedding.stopping.set()


async def test_a_stop_in_a_pause_reports_what_was_encoded(autojump_clock):
    class LeavesAfterTwo(ScriptedEncoder):
        def encode(self, texts):
            self.encodes_away = math.inf if len(self.calls) >= 2 else 0
            return super().encode(texts)

    ready = (claim("ready"),)
    encoder = LeavesAfterTwo(poison={"d": ValueError("cannot")})
    embedding = Embedding(encoder, patience=Patience(base_s=1000, cap_s=1000))
    await stop_at(embedding, 5, Batch(batch_of("a", "b", "c", "d").pieces, ready))
    [report] = embedding.reports
    assert (texts_of(report.encoded), report.refused, report.ready) == (["a", "b"], (), ready)
    assert embedding.ended_at == 5


async def test_a_stop_ends_a_load_at_once(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False), run_sync=Gate())
    await stop_at(embedding, 5, Batch(batch_of("a").pieces, (claim("ready"),)))
    assert embedding.said[0] == (0, LOADING)
    assert embedding.reports == [Report(ready=(claim("ready"),))]
    assert embedding.ended_at == 5


async def test_a_stop_lets_the_call_in_progress_finish(autojump_clock):
    gate = Gate()
    embedding = Embedding(ScriptedEncoder(), run_sync=gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(embedding.run, batch_of("a"))
        await gate.wait_entered()
        embedding.stopping.set()
        await trio.sleep(3)
        assert embedding.reports == []
        gate.open()
    assert texts_of(embedding.reports[0].encoded) == ["a"]


async def test_a_cancellation_abandons_a_call_that_hangs(autojump_clock):
    embedding = Embedding(ScriptedEncoder(), run_sync=Gate())
    with trio.move_on_after(2) as deadline:
        await embedding.run(batch_of("a"))
    assert deadline.cancelled_caught
    assert embedding.reports == []


async def test_a_cancellation_abandons_a_load_that_hangs(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False), run_sync=Gate())
    with trio.move_on_after(2) as deadline:
        await embedding.run(batch_of("a"))
    assert deadline.cancelled_caught
    assert embedding.said == [(0, LOADING)]


# Rest

IDLE = StateChange(WorkerState.IDLE)


async def test_the_memory_is_given_back_after_exactly_the_time(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False), rest=Rest(300))
    await embedding.run(batch_of("a"), waits=(0, 1000))
    assert embedding.encoder.unloads == [300]
    assert embedding.times(WorkerState.IDLE) == [300]
    assert embedding.changes == [LOADING, ENCODING, IDLE]


@pytest.mark.parametrize("rest", [Rest(), Rest(300.5)])
async def test_it_is_kept_until_then(autojump_clock, rest):
    embedding = Embedding(ScriptedEncoder(), rest=rest)
    await embedding.run(*[batch_of(text) for text in "abc"], waits=(300, 300, 300, 300))
    assert embedding.encoder.unloads == []
    assert embedding.changes == [ENCODING] * 3


async def test_the_next_batch_loads_it_again(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False), rest=Rest(300))
    await embedding.run(batch_of("a"), batch_of("b"), waits=(0, 400, 1000))
    assert embedding.changes == [LOADING, ENCODING, IDLE, LOADING, ENCODING, IDLE]
    assert embedding.encoder.unloads == [300, 700]
    assert embedding.encoder.loads == 2
    assert [texts_of(report.encoded) for report in embedding.reports] == [["a"], ["b"]]


async def test_an_encoder_that_is_busy_does_not_rest(autojump_clock):
    embedding = Embedding(ScriptedEncoder(), run_sync=Slow(1000), rest=Rest(300))
    await embedding.run(batch_of("a"), batch_of("b"))
    assert embedding.ended_at == 2000
    assert embedding.encoder.unloads == []


async def test_what_was_never_loaded_is_not_unloaded(autojump_clock):
    embedding = Embedding(ScriptedEncoder(ready=False), rest=Rest(300))
    await embedding.run(waits=(10_000,))
    assert (embedding.encoder.unloads, embedding.said) == ([], [])


async def test_a_model_that_somebody_else_loads_again_is_given_back_again(autojump_clock, nursery):
    embedding = Embedding(ScriptedEncoder(), rest=Rest(300))
    nursery.start_soon(partial(embedding.run, waits=(1000,)))
    await trio.sleep(450)
    embedding.encoder.load()
    await trio.sleep(2000)
    assert embedding.encoder.unloads == [300, 600]


@pytest.mark.parametrize(("before", "after", "unloads"), [
    (math.inf, 100, [100]),
    (math.inf, 20, [50]),
    (100, math.inf, []),
    (100, 60, [60]),
])  # fmt: skip
async def test_the_rest_can_be_changed_while_it_lasts(
    autojump_clock, nursery, before, after, unloads
):
    embedding = Embedding(ScriptedEncoder(), rest=Rest(before))
    nursery.start_soon(partial(embedding.run, waits=(1000,)))
    await trio.sleep(50)
    embedding.rest.tune(after)
    await trio.sleep(2000)
    assert embedding.encoder.unloads == unloads


async def test_the_shortest_rest_does_not_spin(autojump_clock):
    looks = itertools.count()

    class Watched(ScriptedEncoder):
        ready = property(lambda _: bool(next(looks)) and False, lambda *_: None)

    await Embedding(Watched(), rest=Rest(0.0)).run(waits=(1,))
    assert 10 <= next(looks) <= 20


async def test_a_batch_that_comes_during_the_unloading_waits_for_it(autojump_clock):
    embedding = Embedding(ScriptedEncoder(), run_sync=Slow(10), rest=Rest(300))
    await embedding.run(batch_of("a"), waits=(305,))
    assert embedding.changes == [IDLE, LOADING, ENCODING]
    assert embedding.ended_at == 330

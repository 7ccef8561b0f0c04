"""The poller alone: when it looks, what it passes on, and when it ends."""

import math
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.auto_reset_event import AutoResetEvent
from actors.in_flight import InFlight
from actors.messages import StateChange, WorkerState
from actors.poller import poller
from actors.ports import Claimed, StorageUnavailableError
from actors.retry import StorageRetry
from tests.fakes.pipeline import Gate, claim, inline

NOTHING = Claimed(unfinished=1)


@dataclass
class Script:
    """A queue that answers by the book, and notes when it was asked; then it has nothing."""

    answers: list[Claimed] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    urgent: list[bool] = field(default_factory=list)

    def claim(self, limit, urgent):
        self.looks.append(trio.current_time())
        self.limits.append(limit)
        self.urgent.append(urgent)
        return self.answers.pop(0) if self.answers else NOTHING


@dataclass
class Polling:
    """A poller with everything it touches."""

    queue: Script
    wake: AutoResetEvent = field(default_factory=AutoResetEvent)
    in_flight: InFlight = field(default_factory=InFlight)
    retry: StorageRetry = field(default_factory=StorageRetry)
    room: bool = True
    paused: bool = False
    said: trio.MemoryReceiveChannel | None = None
    done: bool = False

    def start(self, nursery, *, buffer=math.inf, run_sync=inline, drain=False):
        send, receive = trio.open_memory_channel(buffer)
        states, self.said = trio.open_memory_channel(math.inf)
        nursery.start_soon(
            partial(
                self._run,
                send,
                states,
                queue=self.queue,
                run_sync=run_sync,
                retry=self.retry,
                in_flight=self.in_flight,
                wake=self.wake,
                has_room=lambda: self.room,
                paused=lambda: self.paused,
                limit=7,
                drain=drain,
            )
        )
        return receive

    async def _run(self, *args, **kwargs):
        await poller(*args, **kwargs)
        self.done = True


async def test_it_looks_at_once_and_then_waits(nursery, autojump_clock):
    polling = Polling(Script())
    polling.start(nursery)
    await trio.sleep(1000)
    assert polling.queue.looks == [0]
    assert polling.queue.limits == [7]


async def test_it_looks_again_while_there_is_more(nursery, autojump_clock):
    groups = [(claim("a"), claim("b")), (claim("c"),)]
    polling = Polling(Script([Claimed(group) for group in groups]))
    claims = polling.start(nursery)
    await trio.sleep(1)
    assert polling.queue.looks == [0, 0, 0]
    assert [claims.receive_nowait() for _ in groups] == groups


async def test_it_wakes_on_a_ring(nursery, autojump_clock):
    polling = Polling(Script())
    polling.start(nursery)
    await trio.sleep(1.25)
    polling.wake.set()
    await trio.sleep(10)
    assert polling.queue.looks == [0, 1.25]


async def test_a_ring_while_it_looks_is_heard(nursery, autojump_clock):
    gate, polling = Gate(), Polling(Script())
    polling.start(nursery, run_sync=gate)
    await gate.wait_entered()
    polling.wake.set()
    polling.wake.set()
    gate.open()
    await trio.sleep(10)
    assert polling.queue.looks == [0, 0]


async def test_it_wakes_when_the_next_entry_falls_due(nursery, autojump_clock):
    polling = Polling(Script([Claimed(next_due_s=7.0, unfinished=1)]))
    polling.start(nursery)
    await trio.sleep(1000)
    assert polling.queue.looks == [0, pytest.approx(7)]


async def test_what_is_overdue_is_looked_for_at_once(nursery, autojump_clock):
    polling = Polling(Script([Claimed(next_due_s=-3.0, unfinished=1)]))
    polling.start(nursery)
    await trio.sleep(10)
    assert polling.queue.looks == [0, 0]


async def test_a_drain_ends_only_when_nothing_is_unfinished(nursery, autojump_clock):
    answers = [
        Claimed((claim("a"),), unfinished=1),
        Claimed(next_due_s=3.0, unfinished=1),
        Claimed(unfinished=1),  # held by somebody else
        Claimed(unfinished=0),
    ]
    polling = Polling(Script(answers))
    claims = polling.start(nursery, drain=True)
    assert await claims.receive() == (claim("a"),)
    await trio.sleep(20)
    assert not polling.done
    polling.wake.set()
    with pytest.raises(trio.EndOfChannel):
        await claims.receive()
    assert polling.queue.looks == [0, 0, 3, 20]


async def test_a_service_does_not_end_when_nothing_is_unfinished(nursery, autojump_clock):
    polling = Polling(Script([Claimed(unfinished=0)]))
    polling.start(nursery, drain=False)
    await trio.sleep(1000)
    assert not polling.done


async def test_claims_are_in_flight_before_a_cancellation_is_felt(nursery, autojump_clock):
    gate, held = Gate(), (claim("a"), claim("b"))
    polling = Polling(Script([Claimed(held)]))
    async with trio.open_nursery() as intake:
        claims = polling.start(intake, buffer=0, run_sync=gate)
        await gate.wait_entered()
        intake.cancel_scope.cancel()
        gate.open()
    assert polling.in_flight.claims() == held
    assert not polling.done
    with pytest.raises(trio.EndOfChannel):
        claims.receive_nowait()


async def test_without_room_only_what_is_urgent_is_claimed(nursery, autojump_clock):
    polling = Polling(Script(), room=False)
    polling.start(nursery, drain=True)
    await trio.sleep(1)
    polling.wake.set()
    await trio.sleep(1)
    polling.room = True
    polling.wake.set()
    await trio.sleep(1)
    assert polling.queue.urgent == [True, True, False]


async def test_a_drain_does_not_end_for_want_of_room(nursery, autojump_clock):
    polling = Polling(Script([Claimed(unfinished=0)]), room=False)
    polling.start(nursery, drain=True)
    await trio.sleep(1)
    assert not polling.done


async def test_nothing_is_claimed_while_downstream_is_full(nursery, autojump_clock):
    polling = Polling(Script([Claimed((claim(f"e{n}"),)) for n in range(9)]))
    claims = polling.start(nursery, buffer=1)
    await trio.sleep(1000)
    assert len(polling.queue.looks) == 2  # one in the buffer, one in its hands
    for taken in range(1, 4):
        await claims.receive()
        await wait_all_tasks_blocked()
        assert len(polling.queue.looks) == 2 + taken
        assert len(polling.in_flight) == 2 + taken


async def test_a_bug_in_the_queue_is_not_swallowed(autojump_clock):
    class Broken(Script):
        def claim(self, limit, urgent):
            raise KeyError("bug")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="bug")):
        async with trio.open_nursery() as nursery:
            Polling(Broken()).start(nursery)


async def test_a_bell_that_rang_once_wakes_once(autojump_clock):
    wake = AutoResetEvent()
    wake.set()
    wake.set()
    await wake.wait()
    with trio.move_on_after(10) as waiting:
        await wake.wait()
    assert waiting.cancelled_caught


async def test_a_ring_is_kept_for_the_next_who_waits(autojump_clock):
    wake = AutoResetEvent()
    with trio.move_on_after(1):
        await wake.wait()
    wake.set()
    with trio.fail_after(1):
        await wake.wait()


def test_in_flight_is_a_set_in_order_of_arrival():
    in_flight, a, b, stranger = InFlight(), claim("a"), claim("b"), claim("stranger")
    in_flight.enter([a, b])
    in_flight.enter([a])
    assert (len(in_flight), in_flight.claims()) == (2, (a, b))
    in_flight.leave([a, stranger])
    in_flight.leave([a])
    assert a not in in_flight
    assert in_flight.claims() == (b,)
    again = claim("b", token="another token")
    assert again not in in_flight  # the same entry under another claim is another claim


# Pause

PAUSED, IDLE = StateChange(WorkerState.PAUSED), StateChange(WorkerState.IDLE)


def said(polling):
    """What the poller has said since this was last asked."""
    messages = []
    while polling.said.statistics().current_buffer_used:
        messages.append(polling.said.receive_nowait())
    return messages


async def test_a_pause_claims_nothing_until_it_ends(nursery, autojump_clock):
    polling = Polling(Script(), paused=True)
    polling.start(nursery)
    for _ in range(3):
        polling.wake.set()
        await trio.sleep(100)
    assert polling.queue.looks == []
    assert said(polling) == [PAUSED]
    polling.paused = False
    polling.wake.set()
    await trio.sleep(1)
    assert polling.queue.looks == [300]
    assert said(polling) == [IDLE]


async def test_a_pause_is_said_once_nothing_is_in_flight(nursery, autojump_clock):
    held = claim("a")
    polling = Polling(Script([Claimed((held,))]))
    polling.start(nursery)
    await trio.sleep(1)
    polling.paused = True
    polling.wake.set()
    await trio.sleep(1)
    assert said(polling) == []
    polling.in_flight.leave([held])
    polling.wake.set()
    await trio.sleep(1)
    assert said(polling) == [PAUSED]
    assert polling.queue.looks == [0, 0]


async def test_a_pause_that_ends_before_all_is_finished_is_not_spoken_of(nursery, autojump_clock):
    polling = Polling(Script([Claimed((claim("a"),))]))
    polling.start(nursery)
    await trio.sleep(1)
    for polling.paused in (True, False):
        polling.wake.set()
        await trio.sleep(1)
    assert said(polling) == []
    assert polling.queue.looks == [0, 0, 2]


async def test_a_drain_waits_for_the_end_of_a_pause(nursery, autojump_clock):
    polling = Polling(Script([Claimed()]), paused=True)
    polling.start(nursery, drain=True)
    await trio.sleep(1000)
    assert not polling.done
    polling.paused = False
    polling.wake.set()
    await trio.sleep(1)
    assert polling.done
    said(polling)
    with pytest.raises(trio.EndOfChannel):
        polling.said.receive_nowait()


# A database that is unavailable for a while


@dataclass
class Locked(Script):
    """A queue whose database is locked until a time."""

    until: float = 2.0

    def claim(self, limit, urgent):
        if trio.current_time() < self.until:
            raise StorageUnavailableError("database is locked")
        return super().claim(limit, urgent)


async def test_a_locked_database_is_tried_again(nursery, autojump_clock):
    group = (claim("a"),)
    polling = Polling(Locked([Claimed(group)]))
    claims = polling.start(nursery)
    await trio.sleep(1)
    assert polling.retry.reason == "the database is unavailable: database is locked"
    await trio.sleep(4)
    assert polling.retry.reason is None
    assert claims.receive_nowait() == group
    assert polling.in_flight.claims() == group


async def test_an_outage_that_lasts_into_a_pause_claims_nothing_after_it(nursery, autojump_clock):
    polling = Polling(Locked([Claimed((claim("a"),))]))
    polling.start(nursery)
    await trio.sleep(1)
    polling.paused = True
    await trio.sleep(9)
    assert polling.queue.looks == []
    polling.paused = False
    polling.wake.set()
    await trio.sleep(1)
    assert polling.queue.looks[0] == 10

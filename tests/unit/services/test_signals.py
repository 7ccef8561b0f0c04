"""Signals that ask to stop: those that belong together are one, and none is delivered late."""

from __future__ import annotations

import signal
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pyrite.services.signals import TOGETHER_S, open_stop_signals

INT, TERM = signal.SIGINT, signal.SIGTERM


async def send(*when: tuple[float, signal.Signals]) -> None:
    for at, number in when:
        await trio.sleep_until(at)
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ([(1.0, TERM), (1.0, INT)], 1),
        ([(1.0, TERM), (1.0 + TOGETHER_S * 0.9, TERM)], 1),
        ([(1.0, INT), (1.0 + TOGETHER_S, INT)], 2),
        # Who goes on pressing Ctrl-C is heard: it counts from the first.
        ([(1.0 + TOGETHER_S * n / 2, INT) for n in range(3)], 2),
        ([(1.0, TERM), (1.1, INT), (9.0, INT), (9.1, INT)], 2),
    ],
)
async def test_signals_that_belong_together_are_one(
    autojump_clock: MockClock, sent: list[tuple[float, signal.Signals]], seen: int
) -> None:
    found: list[int] = []
    with trio.move_on_after(60), open_stop_signals() as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(send, *sent))
            async for number in signals:
                found += [number]
    assert len(found) == seen
    assert found[0] == sent[0][1]


async def test_what_nobody_waited_for_is_forgotten(autojump_clock: MockClock) -> None:
    """It would end the process by the signal, and not with the exit code of a graceful stop."""
    handled: list[int] = []
    before = signal.signal(TERM, lambda number, _: handled.append(number))
    try:
        with open_stop_signals() as signals:
            signal.raise_signal(TERM)
            assert await anext(signals) == TERM
            signal.raise_signal(TERM)
            await wait_all_tasks_blocked()
        assert handled == []
        signal.raise_signal(TERM)
        assert handled == [TERM]
    finally:
        signal.signal(TERM, before)

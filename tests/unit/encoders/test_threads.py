"""Threads that encode: one for each call, nicer than others, and used again."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import trio

from pyrite.encoders.threads import EncodingThreads


async def test_calls_under_way_have_a_thread_each_and_later_ones_use_them_again() -> None:
    threads = EncodingThreads(0)
    both, seen = threading.Barrier(2, timeout=30), []

    def call() -> None:
        both.wait()
        seen.append(threading.get_native_id())

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(threads, call)
    assert len(seen) == 6
    assert len(set(seen)) == 2
    threads.close()


async def test_results_and_errors_come_back() -> None:
    threads = EncodingThreads(0)
    assert await threads(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await threads(divmod, 7, 0)
    threads.close()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux only")
async def test_every_thread_is_nicer() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    threads = EncodingThreads(own + 3)
    both, seen = threading.Barrier(2, timeout=30), []

    def call() -> None:
        both.wait()
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(threads, call)
    assert seen == [own + 3, own + 3]
    threads.close()


async def test_a_call_that_hangs_can_be_abandoned_and_others_go_on() -> None:
    threads, go = EncodingThreads(0), threading.Event()
    with trio.move_on_after(0.01) as scope:
        await threads(go.wait, abandon_on_cancel=True)
    assert scope.cancelled_caught
    assert await threads(int, "7") == 7
    go.set()
    threads.close()

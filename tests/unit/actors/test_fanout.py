"""The fan-out alone: everyone gets every event, or is told that it fell behind."""

import math

import pytest
import trio

from actors.fanout import FellBehindError, Hub, HubStatistics, fanout
from tests.fakes.pipeline import event


async def read(subscription, into):
    async for one in subscription:
        into.append(one.seq)


async def test_every_subscriber_gets_every_event_in_order(autojump_clock):
    hub, first, second = Hub(), [], []
    send, receive = trio.open_memory_channel(math.inf)
    with hub.subscribe() as one, hub.subscribe() as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, one, first)
            nursery.start_soon(read, other, second)
            for seq in range(5):
                send.send_nowait(event(seq))
            send.close()
            await fanout(receive, hub=hub)
    assert first == second == [0, 1, 2, 3, 4]
    assert hub.statistics() == HubStatistics(subscribers=0, dropped=0)


async def test_a_slow_one_is_cut_off_after_what_it_had(autojump_clock):
    hub, got = Hub(), []
    with hub.subscribe(buffer=3) as slow:
        for seq in range(10):
            hub.publish(event(seq))
        with pytest.raises(FellBehindError, match="resume"):
            await read(slow, got)
    assert got == [0, 1, 2]  # without a gap


async def test_the_others_are_not_disturbed_by_a_slow_one(autojump_clock):
    hub, got = Hub(), []
    with hub.subscribe(buffer=2), hub.subscribe(buffer=100) as quick:
        for seq in range(10):
            hub.publish(event(seq))
        assert hub.statistics() == HubStatistics(subscribers=1, dropped=1)
        hub.close()
        await read(quick, got)
    assert got == list(range(10))


async def test_a_buffer_that_is_just_full_is_not_behind(autojump_clock):
    hub, got = Hub(), []
    with hub.subscribe(buffer=2) as full:
        hub.publish(event(0))
        hub.publish(event(1))
        hub.close()
        await read(full, got)
    assert got == [0, 1]
    assert hub.statistics().dropped == 0


async def test_a_subscriber_hears_nothing_from_before(autojump_clock):
    hub, got = Hub(), []
    hub.publish(event(0))
    with hub.subscribe() as late:
        hub.publish(event(1))
        hub.close()
        await read(late, got)
    assert got == [1]


async def test_after_the_end_a_subscription_ends_at_once(autojump_clock):
    hub, got = Hub(), []
    hub.close()
    with hub.subscribe() as late:
        await read(late, got)
    assert got == []
    assert hub.statistics().subscribers == 0


async def test_the_end_leaves_nobody_subscribed(autojump_clock):
    hub = Hub()
    with hub.subscribe():
        hub.close()
        assert hub.statistics() == HubStatistics(subscribers=0, dropped=0)
        hub.publish(event(0))  # offered to nobody


async def test_after_leaving_there_is_nothing_to_read(autojump_clock):
    hub, got = Hub(), []
    with hub.subscribe() as left:
        hub.publish(event(0))
    with pytest.raises(trio.ClosedResourceError):
        await read(left, got)
    assert got == []


async def test_leaving_makes_room(autojump_clock):
    hub = Hub()
    with hub.subscribe(buffer=1):
        assert hub.statistics().subscribers == 1
    for seq in range(3):
        hub.publish(event(seq))
    assert hub.statistics() == HubStatistics(subscribers=0, dropped=0)


async def test_leaving_after_being_cut_off_is_no_error(autojump_clock):
    hub = Hub()
    with hub.subscribe(buffer=0):
        hub.publish(event(0))
    assert hub.statistics() == HubStatistics(subscribers=0, dropped=1)


async def test_a_reader_may_leave_in_the_middle(autojump_clock):
    """As one does whose client has gone; nothing is left for the garbage collector to mind."""
    hub = Hub()
    with hub.subscribe() as subscription:
        hub.publish(event(0))
        hub.publish(event(1))
        async for one in subscription:
            assert one == event(0)
            break
    assert hub.statistics() == HubStatistics(subscribers=0, dropped=0)


async def test_a_reader_may_go_on_where_it_paused(autojump_clock):
    hub, got = Hub(), []
    with hub.subscribe() as subscription:
        hub.publish(event(0))
        hub.publish(event(1))
        hub.close()
        events = aiter(subscription)
        got.append((await anext(events)).seq)
        got.append((await anext(events)).seq)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert got == [0, 1]


async def test_a_cancelled_fanout_ends_every_subscription(autojump_clock):
    hub, got = Hub(), []
    _, receive = trio.open_memory_channel(0)
    with hub.subscribe() as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, subscription, got)
            with trio.move_on_after(1):
                await fanout(receive, hub=hub)
    assert got == []

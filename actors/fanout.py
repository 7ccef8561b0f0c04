"""The fan-out: gives every subscriber each event, and lets none of them slow the others.

Each subscriber has a bounded buffer. One that falls behind is cut off, and told so when it
reads on: it can resume from the number of its last event. It is never silently skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import trio

from actors.messages import Event


class FellBehindError(Exception):
    """The subscriber did not read fast enough; events after its last one were not buffered."""


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """Subscribers now, and how many were cut off since the start."""

    subscribers: int
    dropped: int


class Subscription:
    """One subscriber's events; leave its ``with`` block to end it."""

    def __init__(self, hub: Hub, buffer: int) -> None:
        self._hub = hub
        self._send, self._receive = trio.open_memory_channel[Event](buffer)
        self._fell_behind = False

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hub.leave(self)
        self._receive.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        """The next event, until the hub closes.

        Raises:
            FellBehindError: after the last event that was buffered in time.
        """
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._fell_behind:
                raise FellBehindError("fell behind; resume from the last seq") from None
            raise StopAsyncIteration from None

    def offer(self, event: Event) -> bool:
        """Buffer the event; False if there is no room for it, which ends the subscription."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._fell_behind = True
            self._send.close()
            return False
        return True

    def end(self) -> None:
        """No more events will come."""
        self._send.close()


class Hub:
    """Who is subscribed; used from the Trio thread alone."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._dropped = 0
        self._closed = False

    def subscribe(self, buffer: int = 256) -> Subscription:
        """A subscription to events from now on, holding up to ``buffer`` unread ones."""
        subscription = Subscription(self, buffer)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """End a subscription; one that has ended already is no error."""
        self._subscriptions.discard(subscription)

    def publish(self, event: Event) -> None:
        """Offer an event to everyone, cutting off those that have no room."""
        behind = [s for s in self._subscriptions if not s.offer(event)]
        self._subscriptions.difference_update(behind)
        self._dropped += len(behind)

    def close(self) -> None:
        """End every subscription, after what it has buffered."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()

    def statistics(self) -> HubStatistics:
        """How many listen, and how many were cut off."""
        return HubStatistics(len(self._subscriptions), self._dropped)


async def fanout(events: trio.MemoryReceiveChannel[Event], *, hub: Hub) -> None:
    """Publish events until they end, then end every subscription."""
    with events:
        try:
            async for event in events:
                hub.publish(event)
        finally:
            hub.close()

"""What of the feed is at hand, and how a reader of it goes on without gap or duplicate.

Pure. Numbers of events have no holes, and only the oldest events are ever pruned: so where the
next event is not the next number, those between them have been pruned, and that is said.

The newest messages are kept once for all readers, rendered. Each reader has a place of its own,
and takes what follows it: from here, or from the database where that is no longer here. There is
nothing to join and nothing to lose in between, and a reader that is slow costs no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from actors.messages import Event
from pyrite.server.feed.messages import Message, gap, rendered


class ReplayBuffer:
    """The newest messages, and the number of the newest event that was published.

    Args:
        last: the number of the newest event before the first that will be published.
        most: how many messages are kept.
    """

    def __init__(self, last: int, most: int) -> None:
        self.last = last
        self._kept: deque[Message] = deque(maxlen=most)

    def publish(self, page: Sequence[Event]) -> None:
        """Add the events that follow the last one."""
        for event in page:
            # What is kept has no holes either.
            if event.seq != self.last + 1:
                self._kept.clear()
            self._kept.append(rendered(event))
            self.last = event.seq

    def after(self, position: int, most: int) -> list[Message] | None:
        """What follows a position, ``most`` at a time; None where that is no longer here.

        For a reader who stands ahead of what is published, nothing does.
        """
        if position >= self.last:
            return []
        begin = len(self._kept) - (self.last - position)
        return None if begin < 0 else list(islice(self._kept, begin, begin + most))


def replayed(position: int, page: Sequence[Event], newest: int) -> list[Message]:
    """What follows a position, by the database; the last message says the next position.

    Args:
        position: the number of the last event that the reader has.
        page: the events that follow it, in order: as many as were asked for, or all there are.
        newest: the newest event that was published, which is after the position. Later ones
            are left for when they are.
    """
    messages: list[Message] = []
    for event in page:
        if event.seq > newest:
            break
        if event.seq > position + 1:
            messages.append(gap(position + 1, event.seq - 1))
        messages.append(rendered(event))
        position = event.seq
    return messages or [gap(position + 1, newest)]

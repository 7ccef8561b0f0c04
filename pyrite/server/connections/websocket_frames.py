"""A WebSocket's protocol that closes on a client which floods it with frames.

An app counts the messages that it receives, and never sees a ping, a pong or a part of a message.
One read can hold ten thousand of them, each of which is parsed, and most answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import trio
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason

#: Frames that are no message of their own which a client may send in so many seconds; the pongs
#: that answer the server's pings are not counted.
MOST_FRAMES, FRAMES_S = 60, 60.0


class CountingConnection(Connection):
    """One side of a WebSocket that takes a limited number of frames in a time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._counted: deque[float] = deque(maxlen=MOST_FRAMES)
        self._pinged = False

    def send(self, event: Event) -> bytes:
        """The bytes of an event."""
        self._pinged = self._pinged or isinstance(event, Ping)
        return super().send(event)

    def events(self) -> Generator[Event, None, None]:
        """What the client has sent; too many frames are as if it had closed, with the reason."""
        for event in super().events():
            if self._too_many(event):
                # So that the answer, which has the same code, is sent before the end.
                self._state = ConnectionState.REMOTE_CLOSING
                yield CloseConnection(CloseReason.POLICY_VIOLATION, "too many frames")
                return
            yield event

    def _too_many(self, event: Event) -> bool:
        """Count it, if it counts; whether there have been too many."""
        if isinstance(event, Pong) and self._pinged:
            # One may answer several pings, so that pings without answers save up nothing.
            self._pinged = False
            return False
        part = isinstance(event, Message) and event.frame_finished and not event.message_finished
        if not part and not isinstance(event, Ping | Pong):
            return False
        now = trio.current_time()
        if len(self._counted) == MOST_FRAMES and now - self._counted[0] < FRAMES_S:
            return True
        self._counted.append(now)
        return False

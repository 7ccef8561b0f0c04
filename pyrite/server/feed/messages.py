"""The messages of the feed, and what a client can ask for.

Pure: no I/O, no clock. Every message is a JSON object with a ``type``. A client that comes back
names the ``seq`` of the last message that had one, and misses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wsproto.frame_protocol import FrameProtocol

from actors.messages import Event, Gap
from pyrite.api import events
from pyrite.api.base import encode

STATUS = "status"
GAP = "gap"

#: The types that a client can ask for; all others are the feed's own words, and always sent.
TYPES = (
    "embed_complete",
    "embed_failed",
    "entry_created",
    "entry_updated",
    "entry_deleted",
    "kb_added",
    "kb_removed",
    STATUS,
)

#: What the address may ask for.
_PARAMETERS = ("since", "kb", "type")

#: Larger messages from a client are refused, in bytes.
MAX_REQUEST_BYTES = 64 * 1024

#: The largest number of an event; JSON holds every whole number up to here.
_MOST = 2**53


class BadRequestError(ValueError):
    """What the client sent asks for nothing that can be given; the message says why.

    Attributes:
        field: which parameter of the address is at fault, where one is.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Message:
    """One message of the feed, ready to be sent to any number of clients."""

    #: Where a client that has this message goes on; None where it does not move.
    seq: int | None
    type: str
    #: The knowledge base that it is about, if it is about one.
    kb: str | None
    text: str
    #: The write that it is about, if it is about one.
    revision: int = 0

    @cached_property
    def frame(self) -> bytes:
        """The text as a WebSocket frame; a server's frames are the same for all clients."""
        return bytes(FrameProtocol(client=False, extensions=[]).send_data(self.text, fin=True))


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client wants to hear of; None is everything."""

    kbs: frozenset[str] | None = None
    types: frozenset[str] | None = None

    def wants(self, message: Message) -> bool:
        """Whether the message is of interest; a gap always is."""
        if message.type == GAP:
            return True
        if self.types is not None and message.type not in self.types:
            return False
        return self.kbs is None or message.kb is None or message.kb in self.kbs


EVERYTHING = Interest()


def rendered(event: Event | Gap) -> Message:
    """An event, or word that there are none, as a message."""
    if isinstance(event, Gap):
        return gap(event.first, event.last)
    text = encode(events.event(event)).decode()
    return Message(event.seq, event.type, event.kb, text, event.revision)


def hello(position: int, newest: int) -> Message:
    """The first message: where the client stands, and the newest event there is."""
    body = {"type": "hello", "seq": position, "last": newest}
    return Message(position, "hello", None, _json(body))


def gap(first: int, last: int, *, ahead: bool = False) -> Message:
    """Word that the events from ``first`` to ``last`` are not to be had, and why.

    Args:
        first: number of the first one.
        last: number of the last one, after which the feed goes on.
        ahead: the client had seen a number that does not exist yet: it knows another database,
            so nothing it has seen is of this one. Otherwise these have been pruned.
    """
    reason = "unknown_seq" if ahead else "pruned"
    body = {"type": GAP, "seq": last, "from": first, "to": last, "reason": reason}
    return Message(last, GAP, None, _json(body))


def status(snapshot: Mapping[str, object]) -> Message:
    """Where embedding stands."""
    return Message(None, STATUS, None, _json({"type": STATUS, **snapshot}))


def position(seq: int) -> Message:
    """Word that nothing of interest has happened up to that event."""
    return Message(seq, "position", None, _json({"type": "position", "seq": seq}))


def subscribed(interest: Interest) -> Message:
    """The answer to a subscription: all that follows keeps to it."""
    body = {
        "type": "subscribed",
        "kbs": None if interest.kbs is None else sorted(interest.kbs),
        "types": None if interest.types is None else sorted(interest.types),
    }
    return Message(None, "subscribed", None, _json(body))


def check_names(given: Iterable[str]) -> None:
    """Refuse names of parameters that the address does not know.

    Raises:
        BadRequestError: the message says which there are.
    """
    for name in given:
        if name not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise BadRequestError(f"there is no parameter {name!r}; there are {known}", name)


def since(given: Sequence[str]) -> int | None:
    """The query's ``since``: the number of the last event that the client has seen.

    Raises:
        BadRequestError: it is given twice, or is not a whole number from 0.
    """
    if not given:
        return None
    if len(given) > 1 or not (given[0].isascii() and given[0].isdigit()):
        text = "since is one whole number from 0: that of the last event seen"
        raise BadRequestError(text, "since")
    # Longer ones are not even read.
    return min(int(given[0][:20]), _MOST)


def interest(kbs: Iterable[str], types: Iterable[str]) -> Interest:
    """What the query's ``kb`` and ``type`` ask for; none of one kind is everything.

    Raises:
        BadRequestError: there is no such type.
    """
    return Interest(frozenset(kbs) or None, _known(types) or None)


def subscription(text: str) -> Interest:
    """What a client's ``{"type": "subscribe", "kbs": [...], "types": [...]}`` asks for.

    A list that is missing or null is everything; an empty one is nothing.

    Raises:
        BadRequestError: it is no such message.
    """
    try:
        asked: Any = json.loads(text)
        # A half of a surrogate pair can be escaped in JSON, but in no frame be sent back.
        json.dumps(asked, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequestError("not JSON") from None
    if not isinstance(asked, dict) or asked.get("type") != "subscribe":
        raise BadRequestError('only {"type": "subscribe"} is understood')
    if set(asked) - {"type", "kbs", "types"}:
        raise BadRequestError("a subscription has kbs and types, and nothing else")
    kbs, types = _texts(asked, "kbs"), _texts(asked, "types")
    return Interest(kbs, None if types is None else _known(types))


def _texts(asked: Mapping[str, Any], name: str) -> frozenset[str] | None:
    given = asked.get(name)
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise BadRequestError(f"{name} is a list of texts")
    return frozenset(given)


def _known(types: Iterable[str]) -> frozenset[str]:
    asked = frozenset(types)
    if not asked <= set(TYPES):
        raise BadRequestError(f"a type is one of {', '.join(TYPES)}", "type")
    return asked


def _json(body: Mapping[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

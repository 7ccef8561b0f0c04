"""What goes over the feed, and what clients ask for."""

import json

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from actors.messages import Event
from pyrite.server.feed import messages
from pyrite.server.feed.messages import BadRequestError, Interest, Message


def test_a_completed_embedding_says_when_and_how_long():
    detail = {"queued_at": 1.5, "embedded_at": 2.0, "duration_ms": 500.0}
    event = Event(7, "embed_complete", "notes", "ops/backups", 12, 2.0, detail)
    message = messages.rendered(event)
    assert (message.seq, message.type, message.kb) == (7, "embed_complete", "notes")
    assert list(json.loads(message.text).items()) == [
        ("type", "embed_complete"),
        ("seq", 7),
        ("kb", "notes"),
        ("id", "ops/backups"),
        ("revision", 12),
        *detail.items(),
    ]


def test_other_events_say_when_and_what_more_there_is():
    event = Event(8, "embed_failed", "notes", "a", 3, 9.5, {"error": "no memory", "attempts": 3})
    assert json.loads(messages.rendered(event).text) == {
        "type": "embed_failed",
        "seq": 8,
        "kb": "notes",
        "id": "a",
        "revision": 3,
        "at": 9.5,
        "error": "no memory",
        "attempts": 3,
    }


def test_an_event_of_a_whole_knowledge_base_has_no_id():
    text = messages.rendered(Event(1, "kb_added", "notes", "", 0, 2.5)).text
    assert json.loads(text) == {"type": "kb_added", "seq": 1, "kb": "notes", "at": 2.5}


def test_a_detail_cannot_take_the_place_of_what_every_event_has():
    text = messages.rendered(Event(1, "entry_updated", "k", "a", 2, 0.5, {"seq": 99})).text
    assert json.loads(text)["seq"] == 1


def test_no_path_of_this_computer_goes_out():
    event = Event(1, "embed_failed", "k", "a", 1, 0.5, {"error": "no /home/kim/notes/a.md"})
    assert "kim" not in messages.rendered(event).text


@pytest.mark.parametrize("length", [1, 200, 70_000])
def test_a_frame_is_what_the_protocol_would_send(length):
    message = Message(1, "x", None, "é" * length)
    wire = Connection(ConnectionType.SERVER)
    assert message.frame == wire.send(TextMessage(message.text))


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], None), (["0"], 0), (["17"], 17), (["9" * 5000], 2**53)],
)
def test_since(given, expected):
    assert messages.since(given) == expected


@pytest.mark.parametrize("given", [["-1"], ["x"], [""], ["1", "2"], ["1.5"], ["٣"]])
def test_a_since_that_is_none(given):
    with pytest.raises(BadRequestError, match="whole number"):
        messages.since(given)


def event(kind="entry_created", kb="notes"):
    return messages.rendered(Event(1, kind, kb, "a", 1, 0.5))


@pytest.mark.parametrize(
    ("interest", "wanted"),
    [
        (Interest(), True),
        (Interest(kbs=frozenset({"notes"})), True),
        (Interest(kbs=frozenset({"wiki"})), False),
        (Interest(types=frozenset({"entry_created"})), True),
        (Interest(types=frozenset({"embed_complete"})), False),
        (Interest(frozenset({"notes"}), frozenset({"embed_complete"})), False),
        (Interest(types=frozenset()), False),
    ],
)
def test_interest(interest, wanted):
    assert interest.wants(event()) is wanted
    assert interest.wants(messages.gap(1, 5))  # whatever it wants


def test_a_status_is_about_no_knowledge_base():
    status = messages.status({"pending": 3})
    assert json.loads(status.text) == {"type": "status", "pending": 3}
    assert Interest(kbs=frozenset({"notes"})).wants(status)
    assert not Interest(types=frozenset({"embed_failed"})).wants(status)


def test_the_query_asks_for_what_it_names():
    assert messages.interest([], []) == Interest()
    assert messages.interest(["a", "b"], ["status"]) == Interest(
        frozenset({"a", "b"}), frozenset({"status"})
    )
    with pytest.raises(BadRequestError, match="embed_complete"):
        messages.interest([], ["embed_completed"])


def test_a_subscription():
    assert messages.subscription('{"type": "subscribe"}') == Interest()
    assert messages.subscription('{"type": "subscribe", "kbs": null, "types": []}') == Interest(
        None, frozenset()
    )
    asked = '{"type": "subscribe", "kbs": ["a"], "types": ["embed_failed"]}'
    interest = messages.subscription(asked)
    assert interest == Interest(frozenset({"a"}), frozenset({"embed_failed"}))
    answer = json.loads(messages.subscribed(interest).text)
    assert answer == {"type": "subscribed", "kbs": ["a"], "types": ["embed_failed"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"type": "publish"}',
        '{"type": "subscribe", "kb": "notes"}',
        '{"type": "subscribe", "kbs": "notes"}',
        '{"type": "subscribe", "kbs": [1]}',
        '{"type": "subscribe", "types": ["nonsense"]}',
        '{"type": "subscribe", "types": [["status"]]}',
        '{"type": "subscribe", "kbs": ["\\ud800"]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_subscription(text):
    with pytest.raises(BadRequestError):
        messages.subscription(text)


def test_the_feeds_own_words():
    assert json.loads(messages.hello(3, 9).text) == {"type": "hello", "seq": 3, "last": 9}
    assert json.loads(messages.gap(4, 7).text) == {
        "type": "gap",
        "seq": 7,
        "from": 4,
        "to": 7,
        "reason": "pruned",
    }
    assert json.loads(messages.gap(1, 7, ahead=True).text)["reason"] == "unknown_seq"
    assert json.loads(messages.position(7).text) == {"type": "position", "seq": 7}

"""Where a client connects, when it tries again, and when it gives up."""

import ssl

import pytest
import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, ConnectionTimeout

from pyrite.client import policy
from pyrite.client.policy import RefusedError
from pyrite.errors import ConfigError


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("http://127.0.0.1:8707", "ws://127.0.0.1:8707/ws"),
        ("https://notes.example/pyrite/", "wss://notes.example/pyrite/ws"),
        ("http://[::1]:1", "ws://[::1]:1/ws"),
    ],
)
def test_the_address_of_the_feed(server, expected):
    assert policy.feed_url(server, since=None, kbs=(), types=()) == expected


def test_the_address_says_what_is_wanted():
    url = policy.feed_url("http://h:1", since=0, kbs=["a b", "é"], types=["status"])
    assert url == "ws://h:1/ws?since=0&kb=a%20b&kb=%C3%A9&type=status"


@pytest.mark.parametrize(
    "server", ["", "localhost:8707", "ftp://h:1", "http://", "http://h:x", "http://h:1?x=y"]
)
def test_what_is_no_server(server):
    with pytest.raises(ConfigError, match="http://HOST:PORT"):
        policy.feed_url(server, since=None, kbs=(), types=())


def test_each_failure_doubles_the_wait_to_a_limit():
    assert [policy.wait_s(n, 1.0) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert policy.wait_s(10**6, 1.0) == 30
    assert policy.wait_s(2, 0.0) == 1.0  # half of it is chance


@pytest.mark.parametrize(
    ("known", "message", "expected"),
    [(None, {"seq": 3}, 3), (3, {}, 3), (9, {"seq": 4}, 4), (3, {"seq": None}, 3)],
)
def test_the_place_to_go_on_from(known, message, expected):
    assert policy.position(known, message) == expected


def closed(code, reason=None):
    return ConnectionClosed(CloseReason(code, reason))


def distrusted():
    error = trio.BrokenResourceError()
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed")
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRejected(503, (), b""), "the server answered 503"),
        (ConnectionRejected(429, (), b""), "the server answered 429"),
        (ConnectionTimeout(), "it does not answer"),
        (closed(1012, "the server is stopping"), "the server is stopping"),
        (closed(1013, "too slow"), "too slow"),
        (closed(1006), "the connection broke"),
        (ConnectionClosed(None), "the connection broke"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (OSError("all attempts failed"), "all attempts failed"),
    ],
)
def test_what_may_pass(error, says):
    assert str(policy.judged(error)) == says


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRejected(401, (), b""), "401: a token is needed"),
        (ConnectionRejected(403, (), b""), "403: the token does not allow it"),
        (ConnectionRejected(404, (), b""), "404"),
        (ConnectionRejected(422, (), b""), "422: it does not understand the request"),
        (ConnectionRejected(422, (), b'{"detail": "no such type"}'), "422: no such type"),
        (ConnectionRejected(422, (), b'{"detail": "\\u001b[31m"}'), "422: it does not"),
        (ConnectionRejected(422, (), b'{"detail": 7}'), "422: it does not"),
        (ConnectionRejected(422, (), b"[1]"), "422: it does not"),
        (closed(1008, "the token is no longer valid"), "the token is no longer valid"),
        (distrusted(), "not trusted: self-signed"),
    ],
)
def test_what_will_not_pass(error, says):
    with pytest.raises(RefusedError, match=says) as refused:
        policy.judged(error)
    assert "\n" not in str(refused.value)

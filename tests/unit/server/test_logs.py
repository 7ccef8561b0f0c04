"""What is logged, and what never is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrite.auth.tokens import Tier
from pyrite.config.settings import Settings
from pyrite.server import logs
from tests.unit.server.authentication import client, make_node

NAMES = ("pyrite", "actors", "hypercorn.error")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NAMES}
    yield
    root.handlers, root.level = handlers, level
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)
    # Levels are remembered by loggers until one is set.
    root.setLevel(level)


class Written(io.StringIO):
    """What was logged, once the thread has written it."""

    def getvalue(self) -> str:
        for handler in logging.getLogger().handlers:
            handler.flush()
        return super().getvalue()


class Terminal(Written):
    def isatty(self) -> bool:
        return True


def configured(stream: io.StringIO | None = None, **settings: Any) -> io.StringIO:
    out = Written() if stream is None else stream
    logs.configure(Settings(home=Path("/nowhere"), **settings), {}, out)
    return out


def as_json(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_for_people() -> None:
    out = configured()
    logging.getLogger("pyrite.server").info("began", extra={"port": 8707, "nothing": None})
    line = out.getvalue()
    assert "[info     ] began [pyrite.server] port=8707\n" in line
    assert "nothing" not in line
    assert "\x1b" not in line


def test_a_terminal_has_colours_unless_told_otherwise() -> None:
    settings = Settings(home=Path("/nowhere"))
    for environ, has_colours in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        out = Terminal()
        logs.configure(settings, environ, out)
        logging.getLogger("pyrite").warning("x")
        assert ("\x1b" in out.getvalue()) is has_colours


def test_a_line_is_one_json_object() -> None:
    out = configured(log_format="json")
    logging.getLogger("pyrite.server").warning("two\nlines %s", "é", extra={"port": 1})
    (line,) = as_json(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "two\nlines é", "level": "warning", "logger": "pyrite.server",
                    "port": 1}  # fmt: skip


def test_nobody_can_forge_a_line() -> None:
    out = configured()
    logging.getLogger("pyrite").info("a\nb\x1b[2J", extra={"who": "x\r\ny"})
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_is_the_settings(level: str) -> None:
    out = configured(log_level=level, log_format="json")
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("pyrite.x"), name)(name)
        getattr(logging.getLogger("hpack"), name)(name)
    order = ["debug", "info", "warning", "error"]
    own = [line["event"] for line in as_json(out) if line["logger"] == "pyrite.x"]
    assert own == order[order.index(level) :]
    # One more line for each write says nothing.
    assert not logging.getLogger("watchfiles.main").isEnabledFor(logging.INFO)
    # HTTP/2's debugging shows every header.
    others = [line["event"] for line in as_json(out) if line["logger"] == "hpack"]
    assert others == order[max(1, order.index(level)) :]


def test_hypercorn_logs_once_and_here() -> None:
    own = logging.getLogger("hypercorn.error")
    # A server that this process had may have silenced it.
    own.setLevel(logging.NOTSET)
    own.addHandler(logging.StreamHandler(io.StringIO()))
    out = configured(log_format="json")
    own.info("Running on %s", "http://127.0.0.1:1")
    assert [line["event"] for line in as_json(out)] == ["Running on http://127.0.0.1:1"]
    assert own.handlers == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_plain_and_shows_no_values(form: str) -> None:
    out = configured(log_format=form)
    secret_body = "what somebody wrote"
    try:
        _ = {}[len(secret_body)]
    except KeyError:
        logging.getLogger("pyrite").exception("failed")
    assert "Traceback (most recent call last)" in out.getvalue()
    assert "KeyError: 19" in out.getvalue()
    assert secret_body not in out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_looks_like_a_token_is_taken_out(form: str) -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    out = configured(log_format=form)
    logging.getLogger("x").warning("got %s", token, extra={"also": [token]})
    assert token[-40:] not in out.getvalue()
    assert out.getvalue().count("pyrite_…") == 2


async def test_each_request_is_one_line() -> None:
    node = make_node()
    token = node.tokens.create("laptop", Tier.WRITE)
    out = configured(log_format="json")
    async with client(node) as someone:
        answer = await someone.ask(
            "/api/write/private-title?q=private", "POST", token=token, json={"private": 1},
            headers={"X-Request-ID": "abc-1"},
        )  # fmt: skip
    (line,) = as_json(out)
    assert line.pop("duration_ms") > 0.0
    del line["timestamp"]
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "pyrite.access",
        "method": "POST",
        "route": "/api/write/<path:what>",
        "status": 200,
        "client": "laptop",
        "request_id": "abc-1",
    }
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert "private" not in out.getvalue()


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a=b", "ü"])
async def test_an_id_that_is_not_sane_is_not_taken(given: str | None) -> None:
    out = configured(log_format="json")
    headers = {} if given is None else {"X-Request-ID": given}
    async with client(make_node()) as someone:
        made = (await someone.ask("/api/read", headers=headers)).headers["X-Request-ID"]
        other = (await someone.ask("/api/read", headers=headers)).headers["X-Request-ID"]
    assert made != other
    assert len(made) == 32
    assert [line["request_id"] for line in as_json(out)] == [made, other]


async def test_what_is_logged_meanwhile_has_the_same_id() -> None:
    out = configured(log_format="json")
    async with client(make_node()) as someone:
        answer = await someone.ask("/broken", headers={"X-Request-ID": "r1"})
    assert "Traceback" not in await answer.get_data(as_text=True)
    bug, request = as_json(out)
    assert (bug["request_id"], request["request_id"]) == ("r1", "r1")
    assert "RuntimeError: a bug" in bug["exception"]
    assert (request["level"], request["status"]) == ("warning", 500)


async def test_routine_checks_are_only_for_debugging() -> None:
    out = configured(log_format="json")
    async with client(make_node()) as someone:
        await someone.ask("/healthz")
        assert out.getvalue() == ""
        configured(out, log_format="json", log_level="debug")
        await someone.ask("/healthz")
    assert as_json(out)[-1]["route"] == "/healthz"


async def test_a_websocket_is_one_line_too() -> None:
    out = configured(log_format="json")
    async with client(make_node()) as someone, someone.websocket() as feed:
        await feed.receive()
    (line,) = as_json(out)
    assert (line["method"], line["route"], line["status"]) == ("WEBSOCKET", "/ws", 101)


async def test_no_token_comes_into_the_log_whatever_is_done_with_it() -> None:
    node = make_node(log_level="debug")
    token = node.tokens.create("laptop", Tier.READ)
    secret = token.split("_", 2)[2]
    out = configured(log_level="debug")
    async with client(node) as someone:
        await someone.ask("/api/read", token=token)
        await someone.ask("/api/admin", "POST", token=token)
        await someone.ask("/api/read", token=token[:-3] + "abc")
        await someone.ask(f"/api/{token}?token={token}", token=token)
        await someone.ask("/broken", token=token, headers={"X-Request-ID": token})
    for part in (secret, secret[:12], secret[12:24]):
        assert part not in out.getvalue()
    assert "laptop" in out.getvalue()

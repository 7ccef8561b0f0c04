"""``pyrite watch``: what it prints, how it ends, and the real client on a real server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import trio

from pyrite.auth.tokens import Tier
from pyrite.cli.commands import watch
from pyrite.cli.main import run
from pyrite.client import feed as client
from pyrite.client.feed import Callbacks, FeedRequest, follow
from pyrite.client.policy import RefusedError
from pyrite.config.loading import load
from tests.fakes.node import FakeNode
from tests.integration.live import serving


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PYRITE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYRITE_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def says(monkeypatch, *bodies, error=None):
    """Have the client hear these; returns what it was asked to follow."""
    asked = []

    async def followed(request, callbacks, *, since):
        asked.append((request, since))
        for body in bodies:
            callbacks.message(json.dumps(body), body)
        if error is not None:
            raise error

    monkeypatch.setattr(client, "follow", followed)
    return asked


DONE = {
    "type": "embed_complete",
    "seq": 3,
    "kb": "notes",
    "id": "ops/backups",
    "revision": 2,
    "queued_at": 60.0,
    "embedded_at": 61.0,
    "duration_ms": 431.6,
}


def test_lines_for_people(home, capsys):
    says(
        home,
        DONE,
        {**DONE, "duration_ms": 12_345.6},
        {"type": "embed_failed", "kb": "notes", "id": "a", "at": 3661.0, "error": "no memory"},
        {"type": "kb_added", "seq": 4, "kb": "wiki", "at": 3661.0},
    )
    assert run(["watch"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "00:01:01  embed_complete  notes/ops/backups  432 ms",
        "00:01:01  embed_complete  notes/ops/backups  12.3 s",
        "01:01:01  embed_failed    notes/a  no memory",
        "01:01:01  kb_added        wiki",
    ]


def test_a_gap_is_shown(home, capsys):
    gap = {"type": "gap", "seq": 9, "from": 4, "to": 9, "reason": "pruned"}
    status = {"type": "status", "pending": 1200, "processing": 1, "failed": 0}
    says(home, gap, {**gap, "reason": "unknown_seq"}, status)
    run(["watch"])
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "gap             events 4 to 9 are not kept any more",
        "gap             the server knows no such event; it may have another database by now",
        "status          1,200 pending, 1 processing, 0 failed",
    ]


def test_json_is_one_event_a_line(home, capsys):
    asked = says(home, DONE, {"type": "status", "pending": 0})
    run(["watch", "--json", "--since", "7", "--kb", "a", "--kb", "b"])
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == DONE
    assert json.loads(second)["type"] == "status"
    ((request, since),) = asked
    assert (request.kbs, request.types, since) == (("a", "b"), (), 7)


def test_people_are_spared_the_status_unless_they_ask(home):
    asked = says(home)
    run(["watch"])
    run(["watch", "--type", "status"])
    assert "status" not in asked[0][0].types
    assert asked[1][0].types == ("status",)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8707"),
        ({"PYRITE_PORT": "9000", "PYRITE_HOST": "::1"}, "http://[::1]:9000"),
        ({"PYRITE_HOST": "0.0.0.0"}, "http://127.0.0.1:8707"),
        ({"PYRITE_SERVER": "https://notes.example"}, "https://notes.example"),
    ],
)
def test_the_server_of_the_settings(home, given, url):
    assert watch.server_url(load({"PYRITE_HOME": os.environ["PYRITE_HOME"], **given})) == url


def test_the_server_and_the_token(home):
    home.setenv("PYRITE_TOKEN", "pyrite_a_b")
    asked = says(home)
    run(["watch", "--url", "http://there:1"])
    assert (asked[0][0].server, asked[0][0].token) == ("http://there:1", "pyrite_a_b")


def test_ctrl_c_ends_it_quietly(home, capsys):
    says(home, error=KeyboardInterrupt())
    assert run(["watch"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_refusal_is_one_line(home, capsys):
    says(home, error=RefusedError("the server refuses with 401: a token is needed"))
    assert run(["watch"]) == 1
    assert capsys.readouterr().err == "pyrite: the server refuses with 401: a token is needed\n"


def test_whoever_read_it_has_gone(home):
    says(home, error=BrokenPipeError())
    assert run(["watch"]) == 0


def test_what_is_no_server(home, capsys):
    assert run(["watch", "--url", "localhost"]) == 1
    assert "http://HOST:PORT" in capsys.readouterr().err


@pytest.fixture
def node(tmp_path):
    node = FakeNode(tmp_path)
    yield node
    node.close()


async def test_on_a_real_server(node):
    token = node.tokens.create("laptop", Tier.READ)
    heard, more = [], trio.Event()

    def message(text, body):
        heard.append(body["seq"])
        if body["seq"] == 12:
            more.set()

    callbacks = Callbacks(message, lambda why, known: None, lambda: None)
    node.add_kb("notes")
    async with serving(node) as server, trio.open_nursery() as nursery:
        server.commit(9)
        request = FeedRequest(server.url.replace("ws", "http"), token, kbs=["notes"])
        nursery.start_soon(lambda: follow(request, callbacks, since=4))
        server.commit(2)
        await more.wait()
        nursery.cancel_scope.cancel()
    assert heard == list(range(5, 13))


async def test_a_real_server_refuses(node):
    node.tokens.create("laptop", Tier.READ)
    callbacks = Callbacks(lambda text, body: None, lambda why, known: None, lambda: None)
    async with serving(node) as server:
        request = FeedRequest(server.url.replace("ws", "http"), "pyrite_no_such")
        with pytest.raises(RefusedError, match="401"):
            await follow(request, callbacks)
        node.tokens.revoke("laptop")
        request = FeedRequest(server.url.replace("ws", "http"), kbs=["nope"])
        with pytest.raises(RefusedError, match="404: there is no knowledge base 'nope'"):
            await follow(request, callbacks)


@pytest.mark.process
def test_ctrl_c_in_a_real_process(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "pyrite", "watch", "--url", url],
            env={**os.environ, "PYRITE_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr.readline().startswith(f"cannot reach the server at {url} (")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")

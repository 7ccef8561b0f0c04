"""Liveness is cheap; readiness says why not, and to strangers no more than that."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from actors.messages import Statistics, WorkerState
from pyrite.auth.tokens import Tier
from pyrite.errors import StorageError
from pyrite.server import health
from pyrite.server.health import judge
from pyrite.storage.queue_records import Leader, WorkerRow
from tests.unit.server.authentication import THERE, AuthenticatedNode, client, make_node

IDLE = Statistics(WorkerState.IDLE)
DEGRADED = Statistics(WorkerState.DEGRADED, "no model in /home/ann/models/m")
LEADER = Leader("w", 1, "h", None, since=0.0, expires_at=100.0)
ROW = WorkerRow("w", 1, "h", None, 0.0, 0.0, "idle", None, "m")


async def ready(node: AuthenticatedNode, **more: Any) -> tuple[int, dict[str, Any]]:
    async with client(node) as someone:
        answer = await someone.ask("/readyz", **more)
        return answer.status_code, await answer.get_json()


async def test_a_process_that_answers_lives_whatever_its_database_does() -> None:
    node = make_node()
    node.storage = None
    async with client(node) as someone:
        answer = await someone.ask("/healthz", token="whatever")
        assert await answer.get_json() == {"status": "ok"}
    assert node.hops == 0


async def test_it_is_ready_when_entries_are_embedded() -> None:
    node = make_node()
    node.worker = IDLE
    assert await ready(node) == (200, {"status": "ready"})


async def test_a_model_that_is_away_is_said_and_not_where_it_was_looked_for() -> None:
    node = make_node()
    node.worker = DEGRADED
    token = node.tokens.create("t", Tier.READ)
    status, body = await ready(node)
    assert (status, body) == (503, {"status": "not ready", "reasons": ["degraded"]})
    status, body = await ready(node, token=token)
    assert body["details"] == {"degraded": "embedding waits: no model in …"}
    status, body = await ready(node, where=THERE, headers={"Host": "192.168.1.5"})
    assert "details" not in body


async def test_somebody_has_to_embed() -> None:
    node = make_node()
    assert (await ready(node))[1]["reasons"] == ["no_leader"]
    now = node.clock()
    node.storage.lead(replace(LEADER, since=now, expires_at=now + 60.0))
    assert (await ready(node))[0] == 200


async def test_a_server_that_stops_says_so_at_once() -> None:
    node = make_node()
    node.worker = IDLE
    async with client(node) as someone:
        assert (await someone.ask("/readyz")).status_code == 200
        node.closing.set()
        answer = await someone.ask("/readyz")
        assert answer.headers["Retry-After"] == "5"
        assert (await answer.get_json())["reasons"] == ["closing"]
        assert (await someone.ask("/healthz")).status_code == 200


async def test_a_database_that_cannot_be_written_is_said() -> None:
    node = make_node()
    node.worker = IDLE

    @contextmanager
    def refuse() -> Any:
        raise StorageError("/home/ann/pyrite.db is read-only")
        yield

    node.storage.writing = refuse
    status, body = await ready(node)
    assert (status, body) == (503, {"status": "not ready", "reasons": ["database"]})


async def test_a_database_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)
    node = make_node()
    node.worker = IDLE
    go_on = threading.Event()
    looks = []

    @contextmanager
    def hang() -> Any:
        looks.append(1)
        go_on.wait(30)
        yield

    node.storage.writing = hang
    try:
        for _ in range(3):
            status, body = await ready(node)
            assert (status, body["reasons"]) == (503, ["database"])
    finally:
        go_on.set()


async def test_many_questions_are_one_look(autojump_clock: trio.testing.MockClock) -> None:
    node = make_node()
    node.worker = IDLE
    looks = []

    async def look(self: health.Readiness) -> list[health.Reason]:
        looks.append(1)
        await trio.sleep(0.5)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health.Readiness, "_look", look)
        readiness = health.Readiness(node)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(readiness.reasons)
        assert len(looks) == 1
        await trio.sleep(health.LASTS_S)
        await readiness.reasons()
        assert len(looks) == 2


@pytest.mark.parametrize(
    ("own", "leader", "workers", "reasons"),
    [
        (IDLE, None, [], []),
        (Statistics(WorkerState.PAUSED), None, [], []),
        (Statistics(WorkerState.LOADING), None, [], []),
        (DEGRADED, LEADER, [ROW], ["degraded"]),
        (None, None, [], ["no_leader"]),
        (None, None, [ROW], ["no_leader"]),
        (None, replace(LEADER, expires_at=50.0), [ROW], ["no_leader"]),
        (None, LEADER, [], []),
        (None, LEADER, [ROW], []),
        (None, LEADER, [replace(ROW, state="degraded", reason="why")], ["degraded"]),
        (None, LEADER, [replace(ROW, worker_id="x", state="degraded"), ROW], []),
    ],
)
def test_what_counts_as_ready(
    own: Statistics | None, leader: Leader | None, workers: list[WorkerRow], reasons: list[str]
) -> None:
    assert [each.name for each in judge(own, leader, workers, now=50.0)] == reasons

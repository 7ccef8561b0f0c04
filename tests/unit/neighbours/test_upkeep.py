"""A build of the graph that is given up: it says nothing more, and the next one is not skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from pyrite.config.settings import Settings
from pyrite.neighbours import build
from pyrite.neighbours.upkeep import GraphUpkeep
from tests.unit.neighbours.sources import MODEL, SqliteSource

LIMIT_S = 10


class Builds:
    """Stands for the building: each waits to be let go on, and then reports progress."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.running = 0
        self.most_at_once = 0

    def __call__(
        self,
        *_: object,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
        **__: Any,
    ) -> None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        progress(1, 9)
        self.begun.release()
        assert self.go_on.acquire(timeout=LIMIT_S)
        progress(2, 9)
        self.running -= 1
        self.ended.release()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    stand_in = Builds()
    monkeypatch.setattr(build, "update_graph", stand_in)
    return stand_in


@pytest.fixture
def upkeep(tmp_path: Path) -> GraphUpkeep:
    source = SqliteSource()
    source.add(np.eye(3, dtype=np.float32))
    settings = Settings(home=tmp_path, exact_vectors=1)
    return GraphUpkeep(source, MODEL, settings)  # type: ignore[arg-type]


async def acquire(semaphore: threading.Semaphore) -> None:
    assert await trio.to_thread.run_sync(lambda: semaphore.acquire(timeout=LIMIT_S))


async def give_up_a_build(upkeep: GraphUpkeep, builds: Builds) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upkeep.update)
        await acquire(builds.begun)
        assert upkeep.building == (1, 9)
        nursery.cancel_scope.cancel()


async def test_a_build_that_was_given_up_does_not_say_that_it_is_building(
    upkeep: GraphUpkeep, builds: Builds
) -> None:
    await give_up_a_build(upkeep, builds)
    assert upkeep.building is None
    # Its thread goes on to the end of its page, and reports that.
    builds.go_on.release()
    await acquire(builds.ended)
    assert upkeep.building is None


async def test_the_next_build_waits_for_the_one_that_was_given_up(
    upkeep: GraphUpkeep, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    await give_up_a_build(upkeep, builds)
    looked = threading.Semaphore(0)
    source = upkeep._storage
    state = source.embedding_state(MODEL)
    monkeypatch.setattr(source, "embedding_state", lambda _: looked.release() or state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upkeep.update)
        await acquire(looked)
        builds.go_on.release()
        await acquire(builds.ended)
        await acquire(builds.begun)
        assert upkeep.building == (1, 9)
        builds.go_on.release()
    assert builds.most_at_once == 1
    assert upkeep.building is None

"""Both storages, to be held to one suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import pytest

from pyrite.storage.protocol import Storage
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker
from tests.fakes.memory_storage import Memory, MemoryStorage

#: Opens one more instance over the same data, as another process would.
Opener: TypeAlias = Callable[[], Storage]


@pytest.fixture(params=["sqlite", "memory"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    memory = Memory()
    with ExitStack() as opened:

        def open_storage() -> Storage:
            storage: Storage
            if request.param == "sqlite":
                storage = SqliteStorage(tmp_path / "pyrite.db")
            else:
                storage = MemoryStorage(memory)
            return opened.enter_context(closing(storage))

        yield open_storage


@pytest.fixture
def storage(opener: Opener) -> Iterator[Storage]:
    """A storage with the knowledge bases ``kb`` and ``other``; afterwards it must be sound."""
    opened = opener()
    opened.add_kb("kb", "/folder/kb", now=0.0)
    opened.add_kb("other", "/folder/other", now=0.0)
    yield opened
    assert opened.problems() == {}


@pytest.fixture
def worker(storage: Storage) -> Worker:
    return Worker(storage)

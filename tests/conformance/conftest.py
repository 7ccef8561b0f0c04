"""Every engine, to be held to one suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import pytest

from pyrite.storage.protocol import Storage
from pyrite.storage.sqlite.store import SqliteStorage
from tests.conformance.hands import Worker
from tests.fakes.database import new_database, no_waiting_for_the_disk

#: Opens one more instance over the same data, as another process would.
Opener: TypeAlias = Callable[[], Storage]


def sqlite(folder: Path) -> Opener:
    """A database file."""
    path = new_database(folder / "pyrite.db")
    return lambda: SqliteStorage(path)


#: What makes an empty place for an engine, and opens it, by the engine's name.
ENGINES: Mapping[str, Callable[[Path], Opener]] = {"sqlite": sqlite}


@pytest.fixture(params=ENGINES)
def opener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    no_waiting_for_the_disk(monkeypatch)
    open_one = ENGINES[request.param](tmp_path)
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(open_one()))


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

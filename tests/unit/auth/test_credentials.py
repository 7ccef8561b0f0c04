"""The cache of tokens: it looks for commits in a thread, and outlasts a database that is away."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio

from pyrite.auth import credentials
from pyrite.auth.credentials import Credentials
from pyrite.auth.tokens import Tier, TokenService
from pyrite.storage.sqlite.connection import CommitWatcher
from pyrite.storage.sqlite.store import SqliteStorage
from tests.fakes.database import new_database


async def test_commits_are_looked_for_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    real = CommitWatcher.changed

    def changed(self: CommitWatcher) -> bool:
        looked.append(threading.current_thread())
        return real(self)

    monkeypatch.setattr(CommitWatcher, "changed", changed)
    with closing(SqliteStorage(new_database(tmp_path / "pyrite.db"))) as storage:
        known = Credentials(storage, lambda: 0.0, trio.to_thread.run_sync)
        await known.refresh()
        known._next_look = 0.0
        shown = TokenService(storage, lambda: 0.0).create("me", Tier.READ)
        await known.refresh()
        assert known.verify(shown) is not None
        known.close()
    assert looked
    assert threading.main_thread() not in looked


async def test_tokens_are_known_on_while_the_database_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "LOOK_S", 0.0)
    path = new_database(tmp_path / "pyrite.db")
    with closing(SqliteStorage(path)) as storage:
        shown = TokenService(storage, lambda: 0.0).create("me", Tier.READ)
        known = Credentials(storage, lambda: 0.0, trio.to_thread.run_sync)
        await known.refresh()
        path.rename(tmp_path / "away.db")
        await known.refresh()
        assert known.verify(shown) is not None
        known.close()
        (tmp_path / "away.db").rename(path)

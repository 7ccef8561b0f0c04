"""A product in an empty place, on a disk that need not be waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrite.storage.driver import sqlite3
from pyrite.storage.sqlite import connection
from tests.integration import hands
from tests.integration.hands import Product


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about losing power, so no test waits until its bytes are safe."""
    real = connection.connect

    def connect(path: Path) -> sqlite3.Connection:
        connected = real(path)
        connected.execute("PRAGMA synchronous = OFF")
        return connected

    monkeypatch.setattr(connection, "connect", connect)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    yield from hands.product(tmp_path)

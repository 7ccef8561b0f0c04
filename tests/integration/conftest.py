"""A product in an empty place, on a disk that need not be waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrite.cli import context
from tests.fakes import database
from tests.integration import hands
from tests.integration.hands import Product
from tests.integration.shell import Shell


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about losing power, so no test waits until its bytes are safe."""
    database.no_waiting_for_the_disk(monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    yield from hands.product(tmp_path)


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    made = Shell(tmp_path, capsys)
    monkeypatch.setenv("PYRITE_HOME", str(made.home))
    monkeypatch.setenv("PYRITE_MODEL", made.encoder.name)
    monkeypatch.setenv("PYRITE_RETRY_BASE_S", "0")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(context, "make_encoder", lambda settings: made.encoder)
    # However slow the machine, nothing is said of how long it takes.
    monkeypatch.setattr("pyrite.cli.output._SLOW_S", 3600.0)
    return made


@pytest.fixture
def notes(shell: Shell) -> Shell:
    """A shell with one knowledge base."""
    shell.ok("kb", "add", "notes", str(shell.folder))
    return shell

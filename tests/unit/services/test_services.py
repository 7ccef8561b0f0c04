"""All services of a process: made when asked for, once, and closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyrite.config.settings import Settings
from pyrite.encoders.threads import PoliteQueries
from pyrite.services.services import Services
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder

NAMES = ("storage", "kbs", "embedding", "sync", "search", "links", "tokens", "encoder")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def is_open(storage: SqliteStorage) -> bool:
    try:
        storage.kbs()
    except sqlite3.ProgrammingError:
        return False
    return True


def test_making_it_reads_and_opens_nothing(tmp_path: Path) -> None:
    services = Services({"PYRITE_HOME": str(tmp_path / "home"), "PYRITE_PORT": "no number"})
    services.close()
    assert list(tmp_path.iterdir()) == []


def test_importing_it_imports_no_other_room() -> None:
    code = (
        "import sys, pyrite.services.services\n"
        "print(sorted(name for name in sys.modules if name.startswith(('pyrite.', 'trio'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['pyrite.services', 'pyrite.services.services']\n"


def test_settings_come_from_its_environment_unless_they_are_given(
    tmp_path: Path, settings: Settings
) -> None:
    environ = {"PYRITE_HOME": str(tmp_path), "PYRITE_PORT": "1234"}
    assert Services(environ).settings.port == 1234
    assert Services(environ, settings).settings is settings


def test_each_is_made_once_over_one_storage(settings: Settings) -> None:
    services = Services({}, settings, encoder=FakeEncoder())
    assert all(getattr(services, name) is getattr(services, name) for name in NAMES)
    services.kbs.add_kb("notes", settings.home)
    assert [kb.name for kb in services.storage.kbs()] == ["notes"]
    services.close()


def test_it_closes_what_it_has_opened_and_nothing_else(settings: Settings) -> None:
    own = Services({}, settings)
    given = Services({}, settings, storage=own.storage)
    given.close()
    assert is_open(own.storage)
    own.close()
    assert not is_open(own.storage)


def test_every_write_is_told(settings: Settings) -> None:
    services = Services({}, settings)
    told: list[str] = []
    for name in "ab":
        services.on_write(lambda name=name: told.append(name))
    services.kbs.add_kb("notes", settings.home)
    told.clear()
    services.kbs.create_entry("notes", Draft("n"))
    assert told == ["a", "b"]
    services.close()


@pytest.mark.parametrize("shares", [False, True])
def test_a_search_beside_a_worker_loads_the_model_politely(
    settings: Settings, shares: bool
) -> None:
    encoder = FakeEncoder()
    services = Services({}, settings, encoder=encoder, shares_encoder=shares)
    queries = services.search._encoder
    assert isinstance(queries, PoliteQueries) == shares
    assert (queries is encoder) != shares
    services.close()

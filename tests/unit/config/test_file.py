"""The configuration file is changed one setting at a time, and nothing else in it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from pyrite.config import file
from pyrite.config.file import set_value, unset
from pyrite.config.loading import load
from pyrite.config.settings import FILE_SETTINGS, Settings
from pyrite.errors import ConfigError

#: All but the secret ones, which no file holds.
KEPT = [f for f in FILE_SETTINGS if not f.metadata["secret"]]

TEXT = """\
# How the team has it.

threads = 2  # two of eight
model = '/srv/models/m'   # as trained

# Slow disks.
lease_s = 120.0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "config.toml"


def written(path: Path, text: str = TEXT) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def files_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def loaded(path: Path) -> Settings:
    return load({"PYRITE_HOME": str(path.parent)})


@pytest.mark.parametrize("spec", KEPT, ids=lambda f: f.name)
def test_every_setting_is_written_as_it_is_read(path: Path, spec: object) -> None:
    default = spec.default
    given = str(default).lower() if isinstance(default, bool) else str(default)
    assert set_value(path, spec.name, given) == default
    assert loaded(path) == Settings(home=path.parent)
    assert path.read_text(encoding="utf-8").startswith(f"{spec.name} = ")


@pytest.mark.parametrize("name", [f.name for f in FILE_SETTINGS if f.metadata["secret"]])
def test_a_secret_is_not_written(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"is a secret .* set PYRITE_{name.upper()} instead"):
        set_value(path, name, "hunter2")
    assert not path.exists()
    # One that stands there by mistake can be taken out.
    assert unset(written(path, f'{name} = "hunter2"\n'), name)
    assert loaded(path) == Settings(home=path.parent)


def test_the_file_and_its_folder_are_made(path: Path) -> None:
    set_value(path, "threads", "3")
    assert path.read_text() == "threads = 3\n"


def test_everything_else_stays_as_it_is(path: Path) -> None:
    set_value(written(path), "threads", "4")
    set_value(path, "model", 'a "b" \\ ü')
    changed = TEXT.replace("threads = 2", "threads = 4")
    changed = changed.replace("'/srv/models/m'", '"a \\"b\\" \\\\ ü"')
    assert path.read_text(encoding="utf-8") == changed
    set_value(path, "paused", "1")
    assert path.read_text(encoding="utf-8") == changed + "paused = true\n"
    assert unset(path, "paused")
    assert path.read_text(encoding="utf-8") == changed
    assert unset(path, "lease_s")
    assert path.read_text(encoding="utf-8") == changed.replace("lease_s = 120.0\n", "")


@pytest.mark.parametrize("text", ["threads = 2", "threads = 2\r\n", "\n\n# nothing\n", "# no end"])
def test_any_ending_of_a_line_is_borne(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode())
    set_value(path, "batch_texts", "16")
    settings = loaded(path)
    assert settings.batch_texts == 16
    assert settings.threads == (2 if "threads" in text else 0)
    assert path.read_bytes().startswith(text.encode().rstrip())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("threads", "two", "config set: threads must be a whole number, not 'two'"),
        ("threads", "-1", "config set: threads must be at least 0, not '-1'"),
        ("lease_s", "nan", "config set: lease_s must be a number, not 'nan'"),
        ("precision", "best", "config set: precision must be one of exact, fast, not 'best'"),
        ("paused", "yes", "config set: paused must be true or false, not 'yes'"),
        ("thread", "1", "config set: there is no setting named 'thread'; .*reference/settings"),
    ],
)
def test_what_cannot_be_used_is_not_written(path: Path, name: str, value: str, reason: str) -> None:
    written(path)
    with pytest.raises(ConfigError, match=f"^{reason}"):
        set_value(path, name, value)
    assert path.read_text() == TEXT
    assert files_beside(path) == ["config.toml"]


def test_a_file_with_mistakes_can_be_repaired(path: Path) -> None:
    written(path, 'threads = "x"\nthread = 2\n')
    set_value(path, "threads", "2")
    assert unset(path, "thread")
    assert path.read_text() == "threads = 2\n"


@pytest.mark.parametrize("raw", [b"threads = ", b"model = '\xff'", b"a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_left_alone(path: Path, raw: bytes) -> None:
    written(path).write_bytes(raw)
    for change in (lambda: set_value(path, "threads", "2"), lambda: unset(path, "threads")):
        with pytest.raises(ConfigError, match=r"config\.toml cannot be read: .* not ") as caught:
            change()
        # As every other command says it.
        with pytest.raises(ConfigError) as loading:
            load({"PYRITE_HOME": str(path.parent)})
        assert str(caught.value) == str(loading.value)
    assert path.read_bytes() == raw


def test_a_file_that_cannot_be_written_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"config\.toml cannot be written: ."):
        set_value(path, "threads", "2")


def test_a_home_that_is_a_file_is_named(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.write_text("a file")
    with pytest.raises(ConfigError, match=r"home is no folder; PYRITE_HOME names another"):
        set_value(path, "threads", "2")
    with pytest.raises(ConfigError, match=r"home is no folder; PYRITE_HOME names another"):
        load({"PYRITE_HOME": str(path.parent)})


def test_what_is_not_there_cannot_be_taken_out(path: Path) -> None:
    assert not unset(path, "threads")
    assert not path.exists()
    before = written(path).stat().st_ino
    assert not unset(path, "paused")
    assert path.stat().st_ino == before


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_the_rights_are_kept(path: Path, mode: int) -> None:
    written(path).chmod(mode)
    set_value(path, "threads", "4")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(TEXT)
    path.parent.mkdir()
    path.symlink_to(real)
    set_value(path, "threads", "4")
    assert path.is_symlink()
    assert "threads = 4  # two of eight" in real.read_text()


def test_a_failure_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("no space left")

    written(path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: no space left"):
        set_value(path, "threads", "4")
    assert path.read_text() == TEXT
    assert files_beside(path) == ["config.toml", "config.toml.lock"]


def test_who_waits_for_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_LOCK_TIMEOUT_S", 0.05)
    written(path)
    with (
        FileLock(path.with_name("config.toml.lock")),
        pytest.raises(ConfigError, match="being changed by another process; try again"),
    ):
        set_value(path, "threads", "4")
    assert path.read_text() == TEXT


def test_changes_at_a_time_do_not_lose_one_another(path: Path) -> None:
    # Those that may be any of the numbers that are written.
    names = [f.name for f in KEPT if type(f.default) is int and f.metadata["minimum"] <= 2]
    failures: list[BaseException] = []

    def change(name: str) -> None:
        try:
            for value in range(2, 12):
                set_value(path, name, str(value))
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=change, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    settings = loaded(path)
    assert {getattr(settings, name) for name in names} == {11}


@pytest.mark.process
def test_nor_do_those_of_several_processes(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pyrite.config.file import set_value\n"
        "for value in range(2, 22): set_value(Path(sys.argv[1]), sys.argv[2], str(value))"
    )
    names = ("threads", "batch_texts", "claim_limit")
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), n]) for n in names]
    assert [each.wait(timeout=120) for each in running] == [0, 0, 0]
    settings = loaded(path)
    assert {getattr(settings, name) for name in names} == {21}

"""``pyrite config get``, ``set`` and ``unset``, as a person and as a program use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.shell import Shell


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    made = Shell(tmp_path, capsys)
    monkeypatch.setenv("PYRITE_HOME", str(made.home))
    return made


def test_a_setting_is_set_shown_and_unset(shell: Shell) -> None:
    file = shell.home / "config.toml"
    assert shell.ok("config", "get", "threads").out == "0\n"
    assert shell.ok("config", "set", "threads", "2").out == f"threads is 2 in {file}\n"
    assert file.read_text() == "threads = 2\n"
    assert shell.ok("config", "get", "threads").out == "2\n"
    assert shell.ok("config", "unset", "threads").out == f"threads is no longer set in {file}\n"
    assert shell.ok("config", "unset", "threads").out == f"threads was not set in {file}\n"
    assert shell.ok("config", "get", "threads").out == "0\n"


def test_true_and_false_are_written_as_they_are_typed(shell: Shell) -> None:
    assert shell.ok("config", "get", "paused").out == "false\n"
    assert "paused is true in" in shell.ok("config", "set", "paused", "1").out
    assert (shell.home / "config.toml").read_text() == "paused = true\n"
    assert shell.ok("config", "get", "paused").out == "true\n"
    rows = shell.ok("config", "list").out.splitlines()
    assert [row.split("\t")[1] for row in rows if row.startswith("paused\t")] == ["true"]
    assert shell.ok("config", "list", "--json").json["paused"]["value"] is True


def test_comments_are_kept(shell: Shell) -> None:
    shell.home.mkdir()
    file = shell.home / "config.toml"
    file.write_text("# ours\nthreads = 2  # of eight\n")
    shell.ok("config", "set", "threads", "4")
    shell.ok("config", "set", "database", "")
    assert file.read_text() == '# ours\nthreads = 4  # of eight\ndatabase = ""\n'


def test_a_program_reads_json(shell: Shell) -> None:
    file = str(shell.home / "config.toml")
    assert shell.ok("config", "set", "lease_s", "90", "--json").json == {
        "name": "lease_s",
        "value": 90.0,
        "file": file,
        "overridden_by": None,
    }
    found = shell.ok("config", "get", "lease_s", "--json").json
    assert found.pop("help")
    assert found == {"name": "lease_s", "value": 90.0, "source": file}
    assert shell.ok("config", "unset", "lease_s", "--json").json == {
        "name": "lease_s",
        "removed": True,
        "file": file,
        "overridden_by": None,
    }


def test_what_the_environment_overrides_is_written_with_a_warning(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRITE_THREADS", "3")
    warning = "PYRITE_THREADS=3 in the environment goes before the file.\n"
    ran = shell.ok("config", "set", "threads", "2")
    assert "threads is 2 in" in ran.out
    assert ran.err == warning
    assert shell.ok("config", "get", "threads").out == "3\n"
    ran = shell.ok("config", "set", "threads", "4", "--json")
    assert (ran.json["overridden_by"], ran.err) == ("PYRITE_THREADS", warning)
    assert shell.ok("config", "unset", "threads").err == warning
    monkeypatch.delenv("PYRITE_THREADS")
    assert shell.ok("config", "set", "threads", "5").err == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("set", "threads", "two"), "threads must be a whole number, not 'two'"),
        (("set", "threads", "-1"), "threads must be at least 0, not '-1'"),
        (("set", "paused", "maybe"), "paused must be true or false, not 'maybe'"),
        (("set", "thread", "1"), "no setting named 'thread'; the handbook's reference/settings"),
        (("get", "thread"), "no setting named 'thread'; the handbook's reference/settings"),
        (("unset", "thread"), "no setting named 'thread'; the handbook's reference/settings"),
        (("set", "home", "/x"), "set PYRITE_HOME instead"),
        (("unset", "home"), "set PYRITE_HOME instead"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(
    shell: Shell, arguments: tuple[str, ...], reason: str
) -> None:
    assert reason in shell.refused("config", *arguments, code=2)
    assert not (shell.home / "config.toml").exists()


@pytest.mark.parametrize(
    "arguments", [("set",), ("set", "threads"), ("set", "threads", "1", "2"), ("get",), ("unset",)]
)
def test_wrong_usage_is_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.refused("config", *arguments, code=2)


def test_the_home_is_shown_like_any_other(shell: Shell) -> None:
    assert shell.ok("config", "get", "home").out == f"{shell.home}\n"


def test_a_file_with_mistakes_is_repaired_from_the_command_line(shell: Shell) -> None:
    shell.home.mkdir()
    file = shell.home / "config.toml"
    file.write_text('thread = 1\nlease_s = "long"\n')
    assert "no setting named 'thread'" in shell.refused("config", "get", "threads")
    shell.ok("config", "unset", "thread")
    assert "lease_s must be a number" in shell.refused("config", "get", "threads")
    shell.ok("config", "set", "lease_s", "30")
    assert file.read_text() == "lease_s = 30.0\n"


def test_embedding_is_refused_while_it_is_paused(shell: Shell) -> None:
    shell.ok("config", "set", "paused", "true")
    assert shell.refused("index", "embed") == (
        "pyrite: embedding is paused; `pyrite config set paused false` resumes it\n"
    )
    shell.ok("config", "set", "paused", "false")
    assert "nothing to do" in shell.ok("index", "embed").out

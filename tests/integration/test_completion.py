"""What the shell completes: as its script asks for it, by two variables."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.integration.shell import Shell

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture
def complete(notes: Shell, monkeypatch: pytest.MonkeyPatch):
    """The completions of the last of some words."""
    for name in ("ops/backups", "ops/restores", "log"):
        notes.file(f"{name}.md", name)
    notes.ok("index", "sync")

    def completed(*words: str) -> list[str]:
        monkeypatch.setenv("_PYRITE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("pyrite", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        ran = notes()
        assert ran.err == ""
        return [line.partition(",")[2] for line in ran.out.split()]

    return completed


def test_what_is_completed(complete) -> None:
    assert complete("ind") == ["index"]
    assert complete("index", "em") == ["embed"]
    assert "--no-embed" in complete("create", "--no")
    assert complete("search", "--kb", "n") == ["notes"]
    assert complete("search", "--kb", "x") == []
    assert complete("kb", "remove", "n") == ["notes"]
    assert complete("get", "ops/") == ["ops/backups", "ops/restores"]
    assert complete("links", "l") == ["log"]
    assert complete("delete", "--kb", "other", "ops/") == []


def test_without_a_database_nothing_is_made_or_said(
    complete, notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = notes.home / "absent"
    monkeypatch.setenv("PYRITE_HOME", str(absent))
    assert complete("get", "o") == []
    assert not absent.exists()
    monkeypatch.setenv("PYRITE_PORT", "no number")
    assert complete("get", "o") == []


@pytest.mark.process
@pytest.mark.parametrize("program", SHELLS)
def test_the_script_is_one_that_the_shell_reads(notes: Shell, program: str) -> None:
    script = notes.ok("completion", program).out
    assert "_PYRITE_COMPLETE" in script
    if shutil.which(program):
        done = subprocess.run(
            [program, "-n"],
            input=script,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

"""The command, run in this process over one home and one folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyrite.cli.main import run
from tests.integration.hands import Words


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands in this process, over one home and one folder."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = path / "home"
        self.folder = path / "my notes"
        self.folder.mkdir()
        self.encoder = Words()
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        code = run(arguments)
        return Ran(code, *self._capsys.readouterr())

    def ok(self, *arguments: str) -> Ran:
        """Run a command that must do what it is asked for."""
        ran = self(*arguments)
        assert ran.code == 0, ran
        return ran

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run a command that must be refused in one line; returns that line."""
        ran = self(*arguments)
        assert (ran.code, ran.out) == (code, ""), ran
        assert "Traceback" not in ran.err
        if code == 1:
            assert re.fullmatch(r"pyrite: [^\n]+\n", ran.err), ran.err
        return ran.err

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


def poison(word: str) -> Callable[[Sequence[str]], None]:
    def fail(texts: Sequence[str]) -> None:
        if any(word in text for text in texts):
            raise ValueError(f"{word} cannot be encoded")

    return fail

"""What ``pyrite index watch`` says of one sync after another."""

from __future__ import annotations

from typing import Any

import pytest

from pyrite.cli.commands.folders import _Watching
from pyrite.errors import UnreadableFileError
from pyrite.vault.sync import SyncResult


def test_a_skipped_file_is_named_once_until_it_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app: Any = None
    watching = _Watching(app, None, as_json=False)

    def said(*reasons: str, kb: str = "notes") -> list[str]:
        problems = [UnreadableFileError("a.md", reason, 2) for reason in reasons]
        watching._show(SyncResult(kb, problems=problems))
        return capsys.readouterr().err.splitlines()

    assert said("not YAML") == ["  skipped a.md:2: not YAML"]
    assert said("not YAML") == []
    assert said("not YAML", kb="others") == ["  skipped a.md:2: not YAML"]
    assert said("not UTF-8") == ["  skipped a.md:2: not UTF-8"]
    assert said() == []
    assert said("not UTF-8") == ["  skipped a.md:2: not UTF-8"]

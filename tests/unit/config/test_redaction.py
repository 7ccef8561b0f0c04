"""Paths are taken out of a text, and nothing that only looks like one."""

from __future__ import annotations

import pytest

from pyrite.config.redaction import without_paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/kim/notes is away", "… is away"),
        ("cannot open '/srv/a b'", "cannot open '… b'"),
        ('File "/usr/lib/x.py", line 3', 'File "…", line 3'),
        ("file:///etc/passwd", "…"),
        ("C:\\Users\\kim\\x.md is away", "… is away"),
        ("[enforce fail at /pytorch/c10/core.cpp:75]", "[enforce fail at …:75]"),
    ],
)
def test_paths_go(text: str, told: str) -> None:
    assert without_paths(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "there is no entry 'ops/a/b' in 'notes'",
        "wait for it at /api/index/jobs/9f2c",
        "https://example.org/a/b",
        "1/2/3 and/or more",
        "use printable characters, / included",
    ],
)
def test_other_things_stay(text: str) -> None:
    assert without_paths(text) == text

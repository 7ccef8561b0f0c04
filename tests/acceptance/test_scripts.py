"""What the README tells a newcomer to type, typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[2]


def run(*command: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYRITE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
@pytest.mark.model
def test_quickstart_answers_a_question_and_can_be_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = run("deploy/quickstart", home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "It works" in done.stdout
        answer = done.stdout.partition("==> pyrite search")[2]
        assert "crash" in answer.partition("==>")[0].lower()
    status = run(
        sys.executable, "-m", "pyrite", "index", "embed", "--status", "--json", home=tmp_path
    )
    assert json.loads(status.stdout)["coverage"] == 1


@pytest.mark.process
@pytest.mark.model
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(("--quick",), id="quick"),
        pytest.param((), id="full", marks=[pytest.mark.long, pytest.mark.timeout(4 * 3600)]),
    ],
)
def test_every_benchmark_runs_and_writes_what_it_measured(
    tmp_path: Path, size: Sequence[str]
) -> None:
    command = (sys.executable, "-m", "tests.bench", *size)
    done = run(*command, "--output", str(tmp_path / "results"), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in BENCHMARKS:
        result = json.loads((tmp_path / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert result["machine"]["cores"]
        assert all(table["rows"] for table in result["tables"])

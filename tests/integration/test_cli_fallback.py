"""What `create` and `update` do about embedding, and what they say of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.ports import RefusedTextError
from pyrite.cli import output
from pyrite.errors import ModelError
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.hands import LONG, Product
from tests.integration.shell import Shell
from tests.integration.test_fallback import row


def beat(shell: Shell, state: WorkerState = WorkerState.IDLE, reason: str | None = None) -> None:
    with closing(SqliteStorage(shell.home / "pyrite.db")) as storage:
        storage.beat(row(os.getpid(), state, reason=reason, heartbeat_at=time.time()))


def test_without_a_worker_it_is_embedded_at_once(notes: Shell) -> None:
    ran = notes.ok("create", "--title", "A", "--body", "Text.")
    assert (ran.out, ran.err) == ("created a (revision 1)\n", "")
    assert notes.ok("get", "a", "--json").json["embedding"] == "done"
    ran = notes.ok("update", "a", "--body", "Other.", "--json")
    assert (ran.json["embedding"], ran.json["warning"], ran.err) == ("done", None, "")
    assert notes.ok("index", "embed", "--status", "--json").json["worker"] is None


def test_no_embed_only_queues(notes: Shell) -> None:
    ran = notes.ok("create", "--title", "A", "--no-embed")
    assert "It is queued; `pyrite index embed` makes it searchable now." in ran.err
    assert notes.encoder.calls == []
    ran = notes.ok("update", "a", "--summary", "S", "--no-embed", "--json")
    assert (ran.json["embedding"], ran.json["warning"], ran.err) == ("pending", None, "")
    # What is written already is embedded by a command that changes nothing.
    ran = notes.ok("update", "a", "--summary", "S", "--json")
    assert (ran.json["changed"], ran.json["embedding"]) == (False, "done")


def test_a_worker_that_runs_is_left_to_it(notes: Shell) -> None:
    beat(notes)
    ran = notes.ok("create", "--title", "A")
    assert "It is queued for the worker that is running." in ran.err
    assert notes.encoder.calls == []
    beat(notes, WorkerState.DEGRADED, "no model.bin")
    ran = notes.ok("create", "--title", "B", "--json")
    assert ran.json["embedding"] == "pending"
    assert "no model.bin" in ran.json["warning"]
    assert f"Warning: {ran.json['warning']}\n" == ran.err


def test_a_pause_is_told(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRITE_PAUSED", "true")
    ran = notes.ok("create", "--title", "A")
    assert "Warning: embedding is paused" in ran.err


def test_a_model_that_is_away_costs_nobody_the_write(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> str:
        raise ModelError("the model 'gone' is not there")

    monkeypatch.setattr(notes.encoder, "fingerprint", away)
    ran = notes.ok("create", "--title", "A", "--json")
    assert ran.json["embedding"] == "pending"
    assert "is not there" in ran.json["warning"]
    assert ran.err == f"Warning: {ran.json['warning']}\n"
    assert (notes.folder / "a.md").exists()


def test_a_text_that_is_refused_is_told(notes: Shell) -> None:
    def refuse(_: Sequence[str]) -> None:
        raise RefusedTextError("too strange")

    notes.encoder.fail = refuse
    ran = notes.ok("create", "--title", "A")
    assert ran.out.startswith("created a ")
    assert "Warning: it could not be embedded (RefusedTextError: too strange)" in ran.err
    assert "`pyrite index embed --retry-failed`" in ran.err


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_ctrl_c_breaks_off_the_embedding_and_not_the_write(
    notes: Shell, as_json: tuple[str, ...]
) -> None:
    def interrupt(_: Sequence[str]) -> None:
        raise KeyboardInterrupt

    notes.encoder.fail = interrupt
    ran = notes("create", "--title", "A", *as_json)
    assert ran.code == 130
    assert "Warning: embedding was interrupted; it stays queued" in ran.err
    if as_json:
        assert ran.json["embedding"] == "pending"
    else:
        assert ran.out.startswith("created a ")
    notes.encoder.fail = None
    notes.ok("index", "embed")
    assert notes.ok("get", "a", "--json").json["embedding"] == "done"


def test_what_takes_long_is_announced(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    notes_of: list[str] = []

    def note(text: str) -> None:
        notes_of.append(text)
        said.set()

    def wait(_: Sequence[str]) -> None:
        assert said.wait(LONG)

    monkeypatch.setattr(output, "_SLOW_S", 0.0)
    monkeypatch.setattr(output, "note", note)
    notes.encoder.fail = wait
    notes.ok("create", "--title", "A")
    assert notes_of == ["embedding it: loading the model ..."]


@pytest.mark.process
def test_a_real_ctrl_c_while_it_embeds(product: Product, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    given = {
        "PYRITE_HOME": str(product.home),
        "PYRITE_MODEL": "fake",
        "LAUNCHER_GATE": str(gate),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.launcher", "create", "--title", "A"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not Path(f"{gate}.begun").exists():
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert out == "created a (revision 1)\n"
    assert "embedding was interrupted" in err
    assert product.status("a") is Status.PENDING
    assert product.storage.workers() == []

"""`pyrite index embed` beside a process that embeds already: it follows, and takes over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from pyrite.cli import drain
from pyrite.config import loading
from pyrite.config.settings import Settings
from pyrite.embedding.process import identity
from pyrite.embedding.service import EmbeddingService
from pyrite.storage.queue_records import Leader, WorkerRow
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.hands import LONG
from tests.integration.shell import Shell

ME = identity()


class Other:
    """A process that has the right to embed, and does what a test has it do."""

    def __init__(self, settings: Settings, storage: SqliteStorage, shell: Shell) -> None:
        self.storage = storage
        self._settings = settings
        self._shell = shell
        self.said: list[str] = []
        self.when: dict[str, Callable[[], object]] = {}

    def lead(self, *, in_place_of: str = "") -> None:
        row = Leader(ME.worker_id, ME.pid, ME.host, ME.process_started, 0.0, time.time() + 3600)
        self.storage.lead(row, dead=[in_place_of])

    def resign(self) -> None:
        self.storage.resign(ME.worker_id)

    def beat(self, **changes: Any) -> None:
        now = time.time()
        row = WorkerRow(
            *(ME.worker_id, ME.pid, ME.host, ME.process_started, now, now),
            *("encoding", None, self._shell.encoder.name),
        )
        self.storage.beat(replace(row, **changes))

    def embed(self) -> None:
        service = EmbeddingService(self.storage, self._settings)
        for stored in self.storage.entries():
            service.embed_entry(self._shell.encoder, stored.kb, stored.entry.id)

    def hear(self, text: str) -> None:
        """What the command says is heard, and may be acted on."""
        self.said.append(text)
        for words, act in self.when.items():
            if words in text:
                act()


@pytest.fixture
def other(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(drain, "_TICK_S", 0.001)
    # This other one never renews: nobody may believe that its lease is longer than the setting.
    monkeypatch.setenv("PYRITE_LEADERSHIP_S", "3600")
    for number in range(3):
        notes.ok("create", "--title", f"n{number}", "--body", f"text {number}", "--no-embed")
    settings = loading.load({"PYRITE_HOME": str(notes.home), "PYRITE_MODEL": notes.encoder.name})
    with closing(SqliteStorage(settings.database_path)) as storage:
        made = Other(settings, storage, notes)
        monkeypatch.setattr(drain, "note", made.hear)
        made.lead()
        yield made


def test_another_that_embeds_is_followed_to_the_end(notes: Shell, other: Other) -> None:
    other.when = {"following it": other.embed}
    result = notes.ok("index", "embed", "--background", "--json").json
    assert (result["embedded"], result["unfinished"]) == (3, 0)
    assert result["followed"] == os.getpid()
    (said,) = other.said
    assert f"process {os.getpid()} on {ME.host} embeds already" in said
    leader = other.storage.leader()
    assert leader is not None
    assert leader.worker_id == ME.worker_id


def test_the_summary_is_the_same(notes: Shell, other: Other) -> None:
    other.when = {"following it": other.embed}
    assert notes.ok("index", "embed").out.startswith("embedded 3 entries in ")
    assert notes.ok("index", "embed").out == "nothing to do: 3 entries embedded, none queued\n"


@pytest.mark.parametrize("how", ["resigns", "dies"])
def test_it_takes_over_when_the_other_ends(
    notes: Shell, other: Other, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        monkeypatch.setattr(
            "pyrite.embedding.leadership.is_dead", lambda row: row.worker_id == ME.worker_id
        )

    monkeypatch.setattr(drain, "is_dead", lambda row: how == "dies")
    other.when = {"following it": other.resign if how == "resigns" else die}
    result = notes.ok("index", "embed", "--json").json
    assert (result["embedded"], result["unfinished"]) == (3, 0)
    assert result["followed"] == os.getpid()
    assert len(notes.encoder.calls) > 0
    went = "has ended" if how == "dies" else "does not embed any more"
    assert other.said[1:] == [f"process {ME.pid} on {ME.host} {went}: this one embeds now"]
    assert other.storage.leader() is None


def test_it_follows_again_when_another_takes_the_right_back(
    notes: Shell, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrite.embedding.leadership._RENEWALS", 1_000_000)
    stopped = threading.Event()
    stop_worker = drain._Drain._stop_worker

    def stop(drain: drain._Drain) -> None:
        stop_worker(drain)
        stopped.set()

    def taken(_: object) -> None:
        notes.encoder.fail = None
        leader = other.storage.leader()
        assert leader is not None
        # In one transaction, or the renewal that comes at any moment takes it between the two.
        other.lead(in_place_of=leader.worker_id)
        assert stopped.wait(LONG)
        other.embed()

    monkeypatch.setattr(drain._Drain, "_stop_worker", stop)
    notes.encoder.fail = taken
    other.when = {"following it": other.resign}
    result = notes.ok("index", "embed", "--json").json
    assert result["unfinished"] == 0
    leader = other.storage.leader()
    assert leader is not None
    assert leader.worker_id == ME.worker_id


def test_told_to_it_embeds_here(notes: Shell, other: Other) -> None:
    result = notes.ok("index", "embed", "--here", "--json").json
    assert (result["embedded"], result["followed"]) == (3, None)
    assert other.said == []


def test_alone_it_leads_while_it_embeds(notes: Shell, other: Other) -> None:
    other.resign()
    leading: list[Leader | None] = []
    notes.encoder.fail = lambda _: leading.append(other.storage.leader())
    assert notes.ok("index", "embed", "--json").json["followed"] is None
    assert leading[0] is not None
    assert leading[0].pid == os.getpid()
    assert other.storage.leader() is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"state": "paused"}, "is paused: `pyrite config set paused false` resumes it"),
        ({"state": "degraded", "reason": "no such model"}, "tries again: no such model"),
        ({"kb": "others"}, "embeds only the knowledge base others until that is done"),
    ],
)
def test_what_is_in_the_way_is_said_once(
    notes: Shell, other: Other, row: dict[str, Any], words: str
) -> None:
    other.beat(**row)
    looks = iter(range(5))
    other_look = EmbeddingService.status

    def status(self: EmbeddingService, kb: str | None = None) -> Any:
        if next(looks, None) is None:
            other.embed()
        found = other_look(self, kb)
        # It is asked again only after a commit.
        other.beat(**row)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingService, "status", status)
        notes.ok("index", "embed")
    assert len([text for text in other.said if words in text]) == 1


def test_one_that_embeds_with_another_model_is_not_followed(notes: Shell, other: Other) -> None:
    other.beat(model="another")
    said = notes.refused("index", "embed")
    assert "embeds with the model another, and the settings name" in said


def test_ctrl_c_ends_only_the_following(
    notes: Shell, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(drain.Drained, "leave", lambda self: left.append(self.exit_code))
    other.when = {"following it": lambda: signal.raise_signal(signal.SIGINT)}
    out = notes("index", "embed").out
    assert out == f"stopped following by SIGINT: process {os.getpid()} goes on with 3 entries\n"
    assert left == [130]
    assert other.storage.counts().pending == 3


def test_here_goes_with_embedding_alone(notes: Shell) -> None:
    assert "--here" in notes.refused("index", "embed", "--status", "--here", code=2)

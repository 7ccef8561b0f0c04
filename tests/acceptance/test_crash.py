"""Whatever moment a worker is killed at, nothing is lost, doubled or wrong afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pyrite.config.settings import Settings
from pyrite.encoders.local.encoder import LocalEncoder
from pyrite.encoders.local.sentence_transformers import SentenceTransformersBackend
from pyrite.knowledge.service import KBService
from pyrite.markdown.chunks import Splitter
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages

#: How long to wait for something that surely comes, in seconds, before calling it a failure.
LONG = 120

#: Pages for the real model.
PAGES = 32


@pytest.mark.long
@pytest.mark.process
@pytest.mark.model
@pytest.mark.xdist_group("model")
def test_five_kills_of_the_command_with_the_real_model(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    # Short ones: what matters is where a kill hits, not how long it takes to get there.
    real_pages(folder, PAGES, largest=4_000)
    settings = Settings(home=tmp_path / "home", max_attempts=100)
    storage = SqliteStorage(settings.database_path)
    FolderSync(storage, settings).sync(KBService(storage, settings).add_kb("pages", folder))
    (settings.config_path).write_text("max_attempts = 100\n", encoding="utf-8")
    for kill in range(5):
        kill_after_progress(settings, storage, storage.counts().done + 4)
        assert storage.counts().done < PAGES, f"kill {kill} came too late to interrupt anything"
    final = subprocess.run(
        [sys.executable, "-m", "pyrite", "index", "embed", "--json"],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert final.returncode == 0, final.stdout + final.stderr
    assert storage.counts().done == PAGES
    assert not storage.problems()
    check_embeddings(storage, settings)


def kill_after_progress(settings: Settings, storage: SqliteStorage, done: int) -> None:
    """Start the command and kill it once it has embedded so many."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "pyrite", "index", "embed", "--background"],
        env=environment(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LONG
    while storage.counts().done < done:
        assert victim.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < deadline, "the command makes no progress"
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()


def check_embeddings(storage: SqliteStorage, settings: Settings) -> None:
    """Each entry has the embeddings of its present text, and no others."""
    encoder = LocalEncoder(settings.model, [SentenceTransformersBackend()])
    splitter = Splitter(encoder.tokenizer(), encoder.window)
    for listed in storage.entries():
        stored = storage.entry("pages", listed.entry.id)
        assert stored is not None
        texts = [chunk.text for _, chunk in splitter.split(stored.entry)]
        embedded = storage.embeddings("pages", listed.entry.id)
        for (passage, blob), fresh in zip(embedded, encoder.encode(texts), strict=True):
            assert passage.revision == stored.revision
            # Arithmetic in another order, in another batch, moves the last bits.
            assert float(np.frombuffer(blob, "<f4") @ fresh) > 0.99999


def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "PYRITE_HOME": str(settings.home)}

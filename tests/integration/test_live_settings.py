"""A running worker follows the configuration file, and a broken one changes nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.messages import WorkerState
from actors.packing import BatchLimits
from pyrite.config.file import set_value, unset
from pyrite.config.live import LiveSettings
from pyrite.config.settings import Settings
from pyrite.embedding import worker
from pyrite.embedding.worker import EmbeddingWorker, PausedError
from pyrite.encoders.local.encoder import LoadedModel, LocalEncoder, NotPreparedError
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CHECK_EVERY_S", 0.005)


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it surely will."""
    with trio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
            await trio.sleep(0.001)


def fill(product: Product, *names: str) -> None:
    for name in names:
        product.kbs.create_entry(KB, Draft(name, body=f"text of {name}"))


def config_of(product: Product) -> Path:
    return product.settings.config_path


def state_in_database(product: Product) -> WorkerState | None:
    found = product.embedding.live_worker()
    return None if found is None else WorkerState(found.state)


# The settings alone


@pytest.fixture
def live(tmp_path: Path) -> LiveSettings:
    return LiveSettings(Settings(home=tmp_path), {})


def test_only_what_changes_in_the_file_is_followed(tmp_path: Path) -> None:
    set_value(tmp_path / "config.toml", "threads", "2")
    live = LiveSettings(Settings(home=tmp_path, threads=7, batch_texts=3), {})
    assert not live.has_changed()
    set_value(tmp_path / "config.toml", "batch_tokens", "99")
    assert live.has_changed()
    settings = live.read()
    assert not live.has_changed()
    assert (settings.threads, settings.batch_texts, settings.batch_tokens) == (7, 3, 99)
    set_value(tmp_path / "config.toml", "threads", "4")
    assert live.read().threads == 4


def test_a_setting_taken_out_has_its_default_again(tmp_path: Path, live: LiveSettings) -> None:
    for change, paused in ((set_value, True), (None, False)):
        if change:
            change(tmp_path / "config.toml", "paused", "true")
        else:
            (tmp_path / "config.toml").unlink()
        assert live.has_changed()
        assert live.read().paused is paused


def test_what_a_worker_cannot_change_is_left(tmp_path: Path, live: LiveSettings) -> None:
    set_value(tmp_path / "config.toml", "model", "another")
    assert live.read() == Settings(home=tmp_path)


def test_the_environment_still_goes_first(tmp_path: Path) -> None:
    environ = {"PYRITE_HOME": "/elsewhere", "PYRITE_THREADS": "3"}
    live = LiveSettings(Settings(home=tmp_path, threads=3), environ)
    set_value(tmp_path / "config.toml", "threads", "5")
    set_value(tmp_path / "config.toml", "paused", "true")
    assert (live.read().threads, live.settings.paused) == (3, True)


@pytest.mark.parametrize("text", ["paused = ", "paused = 3", "pause = true"])
def test_an_invalid_file_is_reported_once_and_changes_nothing(tmp_path: Path, text: str) -> None:
    reports: list[str] = []
    live = LiveSettings(Settings(home=tmp_path), {}, reports.append)
    file = tmp_path / "config.toml"
    file.write_text("paused = true\nthreads = 2")
    before = live.read()
    file.write_text(text)
    assert live.read() == before
    assert not live.has_changed()
    (report,) = reports
    assert str(file) in report
    assert report.endswith("; the settings before it stay in force")
    file.write_text("paused = true\nthreads = 3")
    assert (live.read().paused, live.settings.threads) == (True, 3)
    assert len(reports) == 1


def test_a_file_replaced_by_another_of_its_size_and_date_is_seen(
    tmp_path: Path, live: LiveSettings
) -> None:
    file, other = tmp_path / "config.toml", tmp_path / "other"
    file.write_text("threads = 1")
    live.read()
    other.write_text("threads = 2")
    other.replace(file)
    assert live.has_changed()
    assert live.read().threads == 2


# A worker


async def test_a_worker_pauses_and_goes_on(product: Product) -> None:
    fill(product, "a")
    worker = EmbeddingWorker(product.storage, FakeEncoder(), product.settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await until(lambda: product.is_embedded("a"))
        set_value(config_of(product), "paused", "true")
        await until(lambda: state_in_database(product) is WorkerState.PAUSED)
        assert worker.statistics().state is WorkerState.PAUSED
        fill(product, "b")
        worker.wake()
        await wait_all_tasks_blocked()
        assert not product.is_embedded("b")
        set_value(config_of(product), "paused", "false")
        await until(lambda: product.is_embedded("b"))
        worker.stop()


async def test_a_pause_outlasts_the_worker(product: Product) -> None:
    fill(product, "a")
    worker = EmbeddingWorker(product.storage, FakeEncoder(), product.tuned(paused=True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await until(lambda: state_in_database(product) is WorkerState.PAUSED)
        worker.stop()
    assert product.storage.counts(KB).pending == 1


async def test_a_drain_is_refused_while_paused(product: Product) -> None:
    fill(product, "a")
    worker = EmbeddingWorker(product.storage, FakeEncoder(), product.tuned(paused=True))
    with pytest.raises(PausedError, match="`pyrite config set paused false` resumes it"):
        await worker.process_queue()
    assert product.storage.workers() == []


async def test_a_drain_waits_out_a_pause(product: Product) -> None:
    names = [f"n{each}" for each in range(40)]
    # In bulk: what somebody waits for would all be claimed before the pause is noticed.
    product.fill({name: f"text of {name}" for name in names})
    file = config_of(product)

    def pause(_: Sequence[str]) -> None:
        """Pause, and hold up the call until the worker knows."""
        encoder.fail = None
        set_value(file, "paused", "true")
        deadline = time.monotonic() + LONG
        while not worker._settings.paused and time.monotonic() < deadline:
            time.sleep(0.001)

    encoder = FakeEncoder(fail=pause)
    settings = product.tuned(claim_limit=1, batch_texts=1)
    worker = EmbeddingWorker(product.storage, encoder, settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.process_queue)
        await until(lambda: worker.statistics().state is WorkerState.PAUSED)
        counts = product.storage.counts(KB)
        assert counts.processing == 0
        assert 0 < counts.done < len(names)
        set_value(file, "paused", "false")
    assert product.storage.counts(KB).done == len(names)


async def test_batches_threads_and_the_rest_are_followed(product: Product) -> None:
    encoder = FakeEncoder()
    file = config_of(product)
    worker = EmbeddingWorker(product.storage, encoder, product.settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        fill(product, "a")
        worker.wake()
        await until(lambda: product.is_embedded("a"))
        set_value(file, "threads", "3")
        await until(lambda: encoder.threads == 3)
        assert encoder.loads == 1
        set_value(file, "batch_texts", "1")
        set_value(file, "idle_unload_s", "0.01")
        await until(lambda: worker._settings.idle_unload_s == 0.01)
        product.fill({name: f"text {name}" for name in "bcdef"})
        worker.wake()
        await until(lambda: product.storage.counts(KB).done == 6)
        assert encoder.loads >= 2
        assert max(map(len, encoder.calls[1:])) == 1
        await until(lambda: not encoder.ready)
        unset(file, "threads")
        await until(lambda: encoder.threads == 0)
        worker.stop()


async def test_an_invalid_file_is_told_on_the_log_and_the_worker_goes_on(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    worker = EmbeddingWorker(product.storage, FakeEncoder(), product.settings)
    with caplog.at_level(logging.WARNING, "pyrite"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            config_of(product).write_text("threads = 'many'")
            await until(lambda: caplog.records)
            fill(product, "a")
            worker.wake()
            await until(lambda: product.is_embedded("a"))
            worker.stop()
    (record,) = caplog.records
    assert "threads must be a whole number, not 'many'" in record.getMessage()


async def test_reports_go_where_they_are_asked_for(product: Product) -> None:
    reports: list[str] = []
    worker = EmbeddingWorker(
        product.storage, FakeEncoder(), product.settings, environ={}, report=reports.append
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        config_of(product).write_text("nonsense")
        await until(lambda: reports)
        worker.stop()


# The encoder, which is told to unload while others use it


class Library:
    """A backend that loads at once, unless it cannot be used; notes with how many threads."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.threads: list[int] = []

    def load(self, files: ModelFiles, _: str, precision: str, threads: int) -> LoadedModel:
        assert (files.name, precision) == ("model", "exact")
        self.threads.append(threads)
        if self.reason:
            raise NotPreparedError(self.reason)
        vector = np.ones(4, np.float32)
        return LoadedModel(
            lambda texts: np.stack([vector for _ in texts]), lambda _: vector, 1, BatchLimits()
        )


@pytest.fixture
def model_folder(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return str(tmp_path / "model")


def test_an_encoder_loads_again_after_it_was_unloaded(model_folder: str) -> None:
    library = Library()
    encoder = LocalEncoder(model_folder, [library], threads=1)
    encoder.unload()
    assert not encoder.ready
    assert len(encoder.encode(["a", "b"])) == 2
    assert encoder.ready
    encoder.unload()
    assert not encoder.ready
    assert encoder.encode_query("q").shape == (4,)
    encoder.set_threads(3)
    assert not encoder.ready
    encoder.load()
    encoder.load()
    assert library.threads == [1, 1, 3]


def test_queries_do_not_mind_that_others_unload(model_folder: str) -> None:
    encoder = LocalEncoder(model_folder, [Library()])
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(500):
                encoder.encode_query("q")
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        encoder.unload()
    assert failures == []


def test_the_choice_outlasts_the_unloading(model_folder: str) -> None:
    said: list[str] = []
    first, otherwise = Library("no such processor"), Library()
    encoder = LocalEncoder(model_folder, [first, otherwise], threads=2, say=said.append)
    assert encoder.concurrency == 2
    encoder.load()
    assert (encoder.ready, encoder.concurrency) == (True, 1)
    encoder.unload()
    assert not encoder.ready
    encoder.load()
    assert encoder.ready
    encoder.set_threads(5)
    assert not encoder.ready
    encoder.load()
    assert (first.threads, otherwise.threads, len(said)) == ([2], [2, 2, 5], 1)

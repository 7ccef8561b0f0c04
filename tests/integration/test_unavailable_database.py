"""A database that another process keeps for too long: the server says so, and goes on after it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import pytest
import trio

from actors import retry
from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.ports import StorageUnavailableError
from pyrite.embedding.process import Identity, identity
from pyrite.embedding.queue import WorkerQueue, open_queue
from pyrite.storage.sqlite import connection, faults
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import queue as queue_sql
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product
from tests.integration.test_folder_watch import following
from tests.integration.test_server_process import process, running, until


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.001)
    monkeypatch.setattr(retry, "STORAGE_PATIENCE", retry.Patience(0.001, 0.01))


@contextmanager
def locked(product: Product) -> Iterator[None]:
    """Keep the write lock, as another process would."""
    path = product.settings.database_path
    with closing(sqlite3.connect(path, isolation_level=None, timeout=LONG)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


class Held(FakeEncoder):
    """An encoder whose calls wait until they may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.free = threading.Event(), threading.Event()
        self.fail = self._wait

    def _wait(self, _: object) -> None:
        self.entered.set()
        assert self.free.wait(LONG)


async def test_a_server_survives_a_lock_and_embeds_what_was_written(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pyrite.server")
    encoder = Held()
    serving = process(product, encoder)
    async with running(serving):
        before = await serving.run_sync(
            serving.kbs.create_entry, KB, Draft("before", body="before")
        )
        await until(encoder.entered.is_set)
        with locked(product):
            encoder.free.set()
            product.write("during.md", "# During\n")
            await until(lambda: serving.retry.reason is not None)
            found = serving.worker_state()
            assert found is not None
            assert found.state is WorkerState.DEGRADED
            assert found.reason == "the database is unavailable: database is locked"
            assert product.status(before.id) is Status.PROCESSING  # reading goes on
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await serving.run_sync(serving.kbs.create_entry, KB, Draft("refused", body=""))
        await until(lambda: product.status(before.id) is Status.DONE)
        await until(lambda: "during" in product.ids())
        await until(lambda: product.status("during") is Status.DONE)
        await until(lambda: serving.retry.reason is None)
    said = [each.message for each in caplog.records if "the database" in each.message]
    assert said[0] == "the database is unavailable, and is tried again: database is locked"
    assert said[-1] == "the database can be used again"
    assert len(said) % 2 == 0


async def test_a_server_stops_in_time_while_the_database_is_locked(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long it would wait for the lock otherwise.
    monkeypatch.setattr(connection, "_SLICE_S", 0.01)
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 3600)
    encoder = Held()
    serving = process(product, encoder, grace_s=0.1)
    with ExitStack() as lock:
        async with running(serving):
            await serving.run_sync(serving.kbs.create_entry, KB, Draft("one", body="one"))
            await until(encoder.entered.is_set)
            lock.enter_context(locked(product))
            encoder.free.set()
    assert product.status("one") is Status.PROCESSING  # until its lease expires


async def test_a_server_that_starts_while_the_database_is_locked_embeds_after_it(
    product: Product,
) -> None:
    product.write("one.md", "# One\n")
    serving = process(product)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            with locked(product):
                await nursery.start(serving.run)
            await until(lambda: product.ids() == ["one"] and product.status("one") is Status.DONE)
            serving.stop()


async def test_a_server_that_never_got_to_its_first_sync_stops_in_time(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = process(product, grace_s=0.1)

    def refuse(_: object) -> None:
        raise faults.DatabaseUnavailableError("database is locked")

    monkeypatch.setattr(serving.storage, "put_job", refuse)
    async with running(serving):
        await until(lambda: serving.retry.reason is not None)


async def test_a_server_that_cannot_read_its_feed_begins_when_it_can_and_stops_before(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = True

    def refuse(function: Callable[[], object]) -> object:
        if refused:
            raise faults.DatabaseUnavailableError("disk I/O error")
        return function()

    stopped, later = process(product), process(product)
    for each in (stopped, later):
        storage = each.storage
        monkeypatch.setattr(storage, "feed_bounds", partial(refuse, storage.feed_bounds))
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stopped.run)
            await until(lambda: stopped.retry.reason is not None)
            stopped.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later.run)
            await until(lambda: later.retry.reason is not None)
            refused = False
            await until(lambda: later.worker_state() is not None)
            later.stop()


def test_what_passes_is_told_apart_from_bugs(product: Product) -> None:
    db = product.storage._db
    with locked(product), pytest.raises(StorageUnavailableError) as refused, db.write():
        pass
    assert isinstance(refused.value, sqlite3.OperationalError)
    assert refused.value.sqlite_errorname == "SQLITE_BUSY"
    with pytest.raises(sqlite3.OperationalError) as bug, db.read() as conn:
        conn.execute("SELECT * FROM nowhere")
    assert not isinstance(bug.value, StorageUnavailableError)


async def test_folders_are_followed_on_after_an_outage(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(product) as watching:
        database = Refusing(product, monkeypatch, "kbs")
        database.refuses = True
        product.write("one.md")
        await until(lambda: watching.watch._retry.reason is not None)
        database.refuses = False
        await watching.until("one")


# The queue of one worker


class Refusing:
    """Makes methods of a storage fail as a busy database does, while it is told to."""

    def __init__(self, product: Product, patch: pytest.MonkeyPatch, *names: str) -> None:
        self.refuses = False
        for name in names:
            patch.setattr(
                product.storage, name, partial(self._call, getattr(product.storage, name))
            )

    def _call(self, function: Callable[..., object], *args: object, **kwargs: object) -> object:
        if self.refuses:
            raise faults.DatabaseUnavailableError("database is locked")
        return function(*args, **kwargs)


def queue_of(product: Product, me: Identity | None = None) -> WorkerQueue:
    return open_queue(product.storage, FakeEncoder(), product.settings, time.time, me=me)


def test_claims_that_could_not_be_read_are_claimed_by_the_next_look(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what had been claimed could be given back then."""
    product.kbs.create_entry(KB, Draft("one", body="one"))
    queue = queue_of(product)
    database = Refusing(product, monkeypatch, "known", "release")
    database.refuses = True
    with pytest.raises(StorageUnavailableError):
        queue.claim(10)
    assert product.status("one") is Status.PROCESSING
    with pytest.raises(StorageUnavailableError):
        queue.claim(10)
    database.refuses = False
    (claimed,) = queue.claim(10).claims
    assert (claimed.entry_id, claimed.attempt) == ("one", 1)


def test_claims_that_could_not_be_read_are_given_back_by_a_worker_that_ends(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("one", body="one"))
    queue = queue_of(product)
    database = Refusing(product, monkeypatch, "known", "release")
    database.refuses = True
    with pytest.raises(StorageUnavailableError):
        queue.claim(10)
    database.refuses = False
    queue.close()
    assert product.status("one") is Status.PENDING


def test_a_claim_whose_row_cannot_be_read_is_not_made(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.kbs.create_entry(KB, Draft("one", body="one"))
    queue = queue_of(product)

    def refuse(*_: object) -> None:
        raise faults.DatabaseUnavailableError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(queue_sql, "read_claimed", refuse)
        with pytest.raises(StorageUnavailableError):
            queue.claim(10)
    assert product.status("one") is Status.PENDING
    assert len(queue.claim(10).claims) == 1


def test_what_a_worker_could_not_give_back_is_freed_by_the_next_of_its_name(
    product: Product,
) -> None:
    product.kbs.create_entry(KB, Draft("one", body="one"))
    me = identity()
    assert len(queue_of(product, me).claim(10).claims) == 1
    again = queue_of(product, me)  # that one ended while the database was unavailable
    assert len(again.claim(10).claims) == 1

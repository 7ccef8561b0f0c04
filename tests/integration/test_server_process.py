"""A process that serves: it embeds while it leads, hands over, stops and crashes as it should."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.pipeline import cause
from pyrite.config.file import set_value
from pyrite.embedding import leadership
from pyrite.embedding.process import identity
from pyrite.search.query import Mode, SearchRequest
from pyrite.server.process import ServerProcess
from pyrite.storage.queue_records import Leader
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, LONG, Product


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RETRY_S", 0.005)


def process(
    product: Product, encoder: FakeEncoder | None = None, **settings: object
) -> ServerProcess:
    """Another process on the same database."""
    return ServerProcess(product.services(encoder, shares_encoder=True, **settings))


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it surely will."""
    with trio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
            await trio.sleep(0.001)


@asynccontextmanager
async def running(*processes: ServerProcess) -> AsyncIterator[None]:
    """Run processes, one after another, and stop them gracefully afterwards."""
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            for each in processes:
                await nursery.start(each.run)
                if each is processes[0]:
                    await until(lambda: processes[0].worker_state() is not None)
            yield
            for each in processes:
                each.stop()


async def test_what_is_written_is_embedded_and_told(product: Product) -> None:
    serving = process(product)
    async with running(serving):
        assert serving.leads
        with serving.feed.subscribe() as subscription:
            written = await serving.run_sync(
                serving.kbs.create_entry, KB, Draft("New", body="text")
            )
            seen: list[str] = []
            while "embed_complete" not in seen:
                taken = await subscription.take()
                seen += [message.type for message in taken if message.seq is not None]
        assert seen == ["entry_created", "embed_complete"]
        assert product.status(written.id) is Status.DONE
    assert not serving.leads
    assert product.storage.leader() is None
    assert product.storage.workers() == []


async def test_a_write_wakes_the_worker_at_once(product: Product) -> None:
    serving = process(product, poll_interval_s=3600.0)
    async with running(serving):
        for number in range(3):
            draft = Draft(f"n{number}", body=str(number))
            written = await serving.run_sync(serving.kbs.create_entry, KB, draft)
            await until(lambda each=written.id: product.status(each) is Status.DONE)


async def test_what_was_written_beside_it_is_found_at_the_start(product: Product) -> None:
    product.write("beside.md", "# Beside\n")
    serving = process(product)
    async with running(serving):
        await until(lambda: product.ids() == ["beside"])
        await until(lambda: product.status("beside") is Status.DONE)
        (job,) = await serving.jobs.jobs()
        assert (job.kind, job.kb) == ("sync", None)


async def test_of_two_one_embeds_and_the_other_takes_over(product: Product) -> None:
    encoders = [FakeEncoder(), FakeEncoder()]
    first, second = (process(product, encoder) for encoder in encoders)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run)
            await until(lambda: first.worker_state() is not None)
            await nursery.start(second.run)
            # It is the other one that writes.
            await second.run_sync(second.kbs.create_entry, KB, Draft("one", body="one"))
            await until(lambda: product.status("one") is Status.DONE)
            assert (first.leads, second.leads) == (True, False)
            assert [len(encoder.calls) for encoder in encoders] == [1, 0]
            first.stop()
            await until(lambda: second.worker_state() is not None)
            assert not first.leads
            await second.run_sync(second.kbs.create_entry, KB, Draft("two", body="two"))
            await until(lambda: product.status("two") is Status.DONE)
            assert [len(encoder.calls) for encoder in encoders] == [1, 1]
            second.stop()
    assert product.storage.leader() is None


async def test_the_right_is_lost_and_won_again_as_often_as_it_may_be(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "_RENEWALS", 1_000_000)
    serving = process(product)
    other = replace(identity(), worker_id="other")
    async with running(serving):
        for time_lost in (1, 2, 3):
            now = time.time()
            row = Leader(
                other.worker_id, other.pid, other.host, other.process_started, now, now + 3600
            )
            # In one transaction: a renewal may come at any moment.
            product.storage.lead(row, dead=[serving.leadership.me.worker_id])
            await until(lambda: not serving.leads and serving.worker_state() is None)
            assert serving.leadership.lost == time_lost
            product.storage.resign(other.worker_id)
            await until(lambda: serving.worker_state() is not None)
        await serving.run_sync(serving.kbs.create_entry, KB, Draft("one", body="one"))
        await until(lambda: product.status("one") is Status.DONE)
    assert product.storage.leader() is None


async def test_the_feed_of_each_tells_what_the_other_did(product: Product) -> None:
    first, second = process(product), process(product)
    async with running(first, second):
        with second.feed.subscribe() as subscription:
            await first.run_sync(first.kbs.create_entry, KB, Draft("New", body="text"))
            seen: list[str] = []
            while "embed_complete" not in seen:
                seen += [message.type for message in await subscription.take()]


async def test_a_stop_finishes_the_encode_in_progress(product: Product) -> None:
    for number in range(20):
        product.kbs.create_entry(KB, Draft(f"n{number}", body=f"text {number}"))
    processes: list[ServerProcess] = []
    token = trio.lowlevel.current_trio_token()

    def stop(_: Sequence[str]) -> None:
        trio.from_thread.run_sync(processes[0].stop, trio_token=token)

    processes.append(process(product, FakeEncoder(fail=stop), batch_texts=2))
    with trio.fail_after(LONG):
        await processes[0].run()
    counts = product.storage.counts()
    assert (counts.done, counts.pending) == (2, 18)
    assert product.storage.workers() == []
    assert product.storage.leader() is None


async def test_a_stop_before_the_start_embeds_nothing(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("one"))
    serving = process(product)
    serving.stop()
    with trio.fail_after(LONG):
        await serving.run()
    assert product.storage.counts().pending == 1
    assert product.storage.leader() is None


async def test_a_cancelled_process_gives_everything_back(product: Product) -> None:
    serving = process(product)
    async with trio.open_nursery() as nursery:
        await nursery.start(serving.run)
        await until(lambda: serving.worker_state() is not None)
        nursery.cancel_scope.cancel()
    assert product.storage.workers() == []
    assert product.storage.leader() is None


async def test_a_part_that_crashes_takes_the_process_with_it(product: Product) -> None:
    class Bug(FakeEncoder):
        @property
        def ready(self) -> bool:
            raise ZeroDivisionError("a bug")

        @ready.setter
        def ready(self, value: bool) -> None:
            pass

    product.kbs.create_entry(KB, Draft("one"))
    with trio.fail_after(LONG), pytest.raises(BaseExceptionGroup) as found:
        await process(product, Bug()).run()
    assert repr(cause(found.value)) == "ZeroDivisionError('a bug')"


async def test_a_pause_that_began_before_it_led_is_kept(product: Product) -> None:
    first, second = process(product), process(product)
    async with running(first, second):
        set_value(product.settings.config_path, "paused", "true")
        first.stop()
        await until(lambda: second.worker_state() is not None)
        await second.run_sync(second.kbs.create_entry, KB, Draft("one"))

        def paused() -> bool:
            state = second.worker_state()
            return state is not None and state.state is WorkerState.PAUSED

        await until(paused)
        assert product.status("one") is Status.PENDING


async def test_a_search_loads_the_model_in_a_thread_that_stands_back(product: Product) -> None:
    nice: list[int] = []

    class Watched(FakeEncoder):
        def load(self) -> None:
            if not self.ready:
                nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            super().load()

    product.kbs.create_entry(KB, Draft("one", body="text"))
    product.embed()
    encoder = Watched()
    serving = process(product, encoder)
    request = SearchRequest(query="text", mode=Mode.SEMANTIC)
    found = await serving.run_search(serving.search.search, request)
    assert [hit.id for hit in found.hits] == ["one"]
    assert nice == [19]

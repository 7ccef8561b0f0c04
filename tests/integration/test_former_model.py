"""After a change of model nothing is embedded with the present one, wherever somebody looks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from pyrite.search.freshness import Outcome
from pyrite.search.service import SearchService
from pyrite.search.waiting import wait
from pyrite.server.metrics import Metrics, Scrape
from pyrite.storage.queue_records import QueueCounts
from pyrite.vault.entry_files import Draft
from tests.integration.hands import KB, Product, Words
from tests.integration.shell import Shell
from tests.integration.test_mcp_tools import connected

NOW = 1.0


@pytest.fixture
def changed(product: Product) -> Product:
    """A product with two entries, embedded with a model that the settings name no more."""
    for name in ("a", "b"):
        product.kbs.create_entry(KB, Draft(name))
    product.drain()
    product.settings = replace(product.settings, model="another")
    return product


def test_commands_count_it_as_pending(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    notes.file("a.md", "text")
    notes.ok("index", "sync")
    notes.ok("index", "embed")
    monkeypatch.setenv("PYRITE_MODEL", "another")

    status = notes.ok("index", "embed", "--status", "--json").json
    assert (status["done"], status["pending"]) == (0, 1)
    (listed,) = notes.ok("kb", "list", "--json").json["kbs"]
    assert (listed["embedded"], listed["pending"]) == (0, 1)
    assert notes.ok("index", "sync", "--json").json["queued"] == 1


async def test_the_tools_count_it_as_pending(changed: Product) -> None:
    async with connected(changed) as hands:
        status = await hands.ok("embed_status")
        (listed,) = (await hands.ok("kb_list"))["kbs"]
    assert (status["done"], status["pending"]) == (0, 2)
    assert (listed["embedded"], listed["pending"]) == (0, 2)


def test_the_metrics_count_it_as_pending(changed: Product) -> None:
    scrape = Scrape(
        storage=changed.storage,
        model="another",
        database=changed.settings.database_path,
        now=NOW,
        leads=False,
        worker=None,
        clients=0,
        drops=0,
        last_event=0,
        observed=Metrics().registry,
    )
    (entries,) = (each for each in scrape.collect() if each.name == "pyrite_queue_entries")
    found = {sample.labels["status"]: sample.value for sample in entries.samples}
    assert QueueCounts(**found) == QueueCounts(pending=2)  # type: ignore[arg-type]


def test_whoever_waits_for_it_waits_on(changed: Product) -> None:
    revision = changed.entry("a").revision
    search = SearchService(changed.storage, Words("another"), changed.settings)

    look = partial(search.revision_status, revision)
    outcome = wait(changed.storage, look, revision, timeout_s=0.0).outcome
    assert outcome is Outcome.TIMED_OUT

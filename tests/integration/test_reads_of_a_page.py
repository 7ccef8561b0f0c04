"""A page of hits costs as many transactions as a single hit, and keeps few texts in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyrite.search import pages
from pyrite.search.pages import views
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.related import related
from pyrite.search.service import SearchService
from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import NO_MODEL
from tests.integration.hands import KB, Product, Words

ENTRIES = 12


@pytest.fixture
def embedded(product: Product) -> Product:
    product.fill({f"{number:02}": f"a word and number {number}\n" for number in range(ENTRIES)})
    product.drain(Words())
    return product


def reads(product: Product, call: Callable[[], object]) -> int:
    """How many read transactions a call takes."""
    statements: list[str] = []
    product.storage._db._reader.set_trace_callback(statements.append)
    call()
    product.storage._db._reader.set_trace_callback(None)
    return statements.count("BEGIN")


@pytest.mark.parametrize("mode", list(Mode))
def test_a_search(embedded: Product, mode: Mode) -> None:
    search = SearchService(embedded.storage, Words(), embedded.settings)

    def found(limit: int) -> int:
        request = SearchRequest(query="word", mode=mode, limit=limit)
        return len(search.search(request).hits)

    assert (found(1), found(ENTRIES)) == (1, ENTRIES)
    page = reads(embedded, lambda: found(ENTRIES))
    assert page == reads(embedded, lambda: found(1))
    # The words, the model in use, what the hits show, and what is pending.
    assert page <= 4 or mode is not Mode.KEYWORD


def test_related_entries(embedded: Product) -> None:
    near = SearchService(embedded.storage, Words(), embedded.settings).nearest_entries()

    def found(limit: int) -> int:
        return len(related(embedded.storage, near, (KB, "00"), EVERYTHING, limit).hits)

    assert (found(1), found(ENTRIES - 1)) == (1, ENTRIES - 1)
    page = reads(embedded, lambda: found(ENTRIES - 1))
    assert page == reads(embedded, lambda: found(1))


def test_long_pages_are_read_in_parts(embedded: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_AT_ONCE", 5)
    keys = [(KB, entry_id) for entry_id in reversed(embedded.ids())]
    (embedded.folder / "03.md").unlink()
    embedded.folders.sync(embedded.kb)

    def ids() -> list[str]:
        return [view.stored.entry.id for view in views(embedded.storage, keys, NO_MODEL)]

    assert ids() == [entry_id for _, entry_id in keys if entry_id != "03"]
    assert reads(embedded, ids) == 3

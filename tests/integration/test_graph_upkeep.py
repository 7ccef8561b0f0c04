"""Beyond a number of embeddings there is a graph of them, kept in step by whoever embeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from pyrite.embedding.worker import EmbeddingWorker
from pyrite.neighbours.opening import AutoIndex
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.service import SearchService
from pyrite.storage.records import Filters
from pyrite.vault.entry_files import Draft
from tests.integration.hands import KB, Product, Words

EXACT = 50
QUERIES = ["red 7", "green 3 of 9", "blue and else", "red green blue", "11 12 13"]


@pytest.fixture
def large(product: Product) -> Product:
    """More embeddings than are compared one by one."""
    colours = ("red", "green", "blue")
    product.fill(
        {
            f"n{n:03}": f"# {colours[n % 3]} {n % 17}\n\n{n} of {n % 29}, {colours[n % 2]} w{n}.\n"
            for n in range(200)
        }
    )
    product.drain(Words(), exact_vectors=EXACT)
    return product


def searching(product: Product, exact_vectors: int = EXACT) -> SearchService:
    return SearchService(product.storage, Words(), product.tuned(exact_vectors=exact_vectors))


def found(search: SearchService, query: str, **filters: object) -> list[tuple[str, float]]:
    request = SearchRequest(
        query=query,
        mode=Mode.SEMANTIC,
        limit=10,
        filters=Filters(**filters),  # type: ignore[arg-type]
    )
    return [(hit.id, hit.score) for hit in search.search(request).hits]


def is_exact(search: SearchService) -> bool:
    index = search.nearest_entries()._index
    assert isinstance(index, AutoIndex)
    return index.is_exact


def graph_files(product: Product) -> Iterator[Path]:
    return product.settings.graphs_path.glob("*.usearch")


def test_a_drain_leaves_a_graph_that_finds_what_comparing_with_each_does(large: Product) -> None:
    assert len(list(graph_files(large))) == 1
    by_graph, exact = searching(large), searching(large, 50_000)
    for query in QUERIES:
        assert found(by_graph, query) == found(exact, query)
        assert found(by_graph, query, types=("none",)) == []
    assert not is_exact(by_graph)
    assert is_exact(exact)
    # What was embedded after the graph was built is found at once, with no drain between.
    large.kbs.create_entry(KB, Draft("New", body="zebra"))
    large.embedding.embed_entry(Words(), KB, "new")
    assert found(by_graph, "new zebra")[0][0] == "new"
    large.kbs.delete_entry(KB, "new")
    assert found(by_graph, "new zebra")[0][0] != "new"
    assert not is_exact(by_graph)


@pytest.mark.parametrize("how", ["damaged", "deleted", "forgotten", "foreign"])
def test_a_graph_that_is_lost_is_made_again(large: Product, how: str) -> None:
    (graph,) = graph_files(large)
    match how:
        case "damaged":
            graph.write_bytes(b"\xff" * graph.stat().st_size)
        case "deleted":
            graph.unlink()
        case "forgotten":
            for sidecar in large.settings.graphs_path.glob("*.json"):
                sidecar.unlink()
        case "foreign":
            (sidecar,) = large.settings.graphs_path.glob("*.json")
            sidecar.write_text(sidecar.read_text().replace('"database_id": "', '"database_id": "x'))
    # Meanwhile, searches do without.
    search = searching(large)
    assert found(search, QUERIES[0]) == found(searching(large, 50_000), QUERIES[0])
    assert is_exact(search)
    large.drain(Words(), exact_vectors=EXACT)  # there is nothing else to do
    (again,) = graph_files(large)
    assert again != graph
    for query in QUERIES:
        assert found(search, query) == found(searching(large, 50_000), query)
    assert not is_exact(search)


def test_a_small_base_has_no_graph(product: Product) -> None:
    product.fill({f"n{n}": f"text {n}" for n in range(EXACT)})
    product.drain(Words(), exact_vectors=EXACT)
    assert not product.settings.graphs_path.exists()
    product.fill({"one-more": "text"})
    product.drain(Words(), exact_vectors=EXACT)
    assert len(list(graph_files(product))) == 1


async def test_a_server_builds_it_beside_its_work_and_says_how_far_it_is(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrite.neighbours.upkeep.CHECK_EVERY_S", 0.002)
    product.fill({f"n{n:03}": f"text {n}" for n in range(100)})
    serving = EmbeddingWorker(product.storage, Words(), product.tuned(exact_vectors=EXACT))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.run)
            while not (  # noqa: ASYNC110 - what it waits for happens on the disk
                list(product.settings.graphs_path.glob("*.json"))
                and product.storage.counts().done == 100
            ):
                await trio.sleep(0.002)
            serving.stop()
    assert serving.building is None
    assert product.storage.workers() == []

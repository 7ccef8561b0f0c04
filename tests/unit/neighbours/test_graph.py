from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pyrite.neighbours import graph
from pyrite.neighbours.build import Outcome, update_graph
from pyrite.neighbours.graph import GraphIndex
from pyrite.neighbours.opening import open_index
from pyrite.neighbours.protocol import Matrix, NeighbourOptions
from tests.unit.neighbours.sources import (
    MODEL,
    SqliteSource,
    as_ids,
    assert_same,
    brute_force,
    clustered,
    random_unit,
)

DIMENSION = 32
#: With one thread a graph is the same each time.
OPTIONS = NeighbourOptions(exact_limit=100, tail_limit=50, threads=1)


class Built:
    """A source with a published graph, and its index."""

    def __init__(self, folder: Path, vectors: Matrix) -> None:
        self.folder = folder
        self.vectors = vectors
        self.source = SqliteSource()
        self.numbers = self.source.add(vectors)
        assert update_graph(self.source, MODEL, folder, options=OPTIONS) is Outcome.BUILT
        self.index = self.opened()

    def opened(self) -> GraphIndex:
        index = open_index(self.source, MODEL, self.folder, OPTIONS)._index
        assert isinstance(index, GraphIndex)
        return index


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """To be searched only."""
    vectors = clustered(np.random.default_rng(11), 6_000, DIMENSION)
    return Built(tmp_path_factory.mktemp("graphs"), vectors)


@pytest.fixture
def small(tmp_path: Path) -> Built:
    """To be changed."""
    return Built(tmp_path, clustered(np.random.default_rng(12), 600, DIMENSION))


def queries(count: int) -> Matrix:
    """Some like texts that are there, and some like none."""
    rng = np.random.default_rng(13)
    return np.concatenate([clustered(rng, count, DIMENSION), random_unit(rng, count, DIMENSION)])


def recall(built: Built, limit: int, among: np.ndarray | None = None) -> float:
    rows = np.arange(len(built.numbers)) if among is None else among - 1
    shares = []
    for query in queries(40):
        found = {number for number, _ in built.index.search(query, limit, among)}
        scores = built.vectors[rows] @ query
        best = {int(rows[row]) + 1 for row in np.argsort(-scores)[:limit]}
        assert len(found) == min(limit, len(rows))
        shares.append(len(found & best) / len(best))
    return float(np.mean(shares))


@pytest.mark.parametrize("limit", [1, 10, 100, 1000])
def test_it_finds_what_comparing_with_each_finds(large: Built, limit: int) -> None:
    assert recall(large, limit) >= 0.99


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("asked_cost", [1, 10, 1_000_000])
def test_a_confined_search_gets_a_full_page(
    large: Built, share: float, asked_cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "ASKED_COST", asked_cost)
    rng = np.random.default_rng(14)
    among = as_ids(rng.choice(large.numbers, int(share * len(large.numbers)), replace=False))
    assert recall(large, 10, among) >= 0.99


def test_a_confined_search_far_from_the_query(
    large: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked for is behind thousands that are nearer."""
    monkeypatch.setattr(graph, "ASKED_COST", 2)
    query = large.vectors[0]
    among = np.argsort(large.vectors @ query)[:3000] + 1

    found = large.index.search(query, 10, np.sort(among))

    assert_same(found, brute_force(large.source, query, 10, set(among.tolist())))


def test_scores_are_exact(large: Built) -> None:
    for query in queries(5):
        for number, score in large.index.search(query, 50):
            vector = large.vectors[number - 1].astype(np.float64)
            assert score == pytest.approx(float(vector @ query), abs=1e-9)


def test_opening_and_searching_read_no_more_than_they_need(large: Built) -> None:
    large.source.paged = large.source.picked = 0
    index = large.opened()
    index.search(large.vectors[5], 10)
    index.search(large.vectors[5], 10, as_ids(large.numbers[:4000]))
    # One vector tells the dimension.
    assert large.source.paged == 1
    assert 200 <= large.source.picked <= 400


def test_what_is_newest_is_found(small: Built) -> None:
    for vector in random_unit(np.random.default_rng(15), 20, DIMENSION):
        (number,) = small.source.add(vector[None])
        small.index.refresh()
        ((found, score),) = small.index.search(vector, 1)
        assert (found, score) == (number, pytest.approx(1.0))
        (again,) = small.index.search(vector, 1, as_ids([1, number]))
        assert again[0] == number
        assert small.index.search(vector, 1, as_ids([1]))[0][0] == 1
    assert len(small.index) == 620


def test_graph_and_tail_are_ranked_together(small: Built) -> None:
    vectors = clustered(np.random.default_rng(16), 40, DIMENSION)
    small.source.add(vectors)
    # An embedding that is there twice: in the graph, and behind it.
    small.source.add(small.vectors[:1])
    small.index.refresh()

    expected = brute_force(small.source, small.vectors[0], 60)
    assert_same(small.index.search(small.vectors[0], 60), expected)


def test_deleted_ones_are_passed_over(small: Built) -> None:
    query = small.vectors[0]
    gone = [number for number, _ in brute_force(small.source, query, 400)]
    small.source.delete(gone)

    found = small.index.search(query, 20)
    assert_same(found, brute_force(small.source, query, 20))
    allowed = as_ids(small.numbers)
    assert_same(small.index.search(query, 300, allowed), brute_force(small.source, query, 300))
    (fresh,) = small.source.add(query[None])
    small.index.refresh()
    assert small.index.search(query, 1)[0][0] == fresh


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_below_one_finds_anything(large: Built, limit: int) -> None:
    assert large.index.search(large.vectors[0], limit) == []


def test_none_are_found_among_none(large: Built) -> None:
    assert large.index.search(large.vectors[0], 5, as_ids([])) == []
    assert large.index.search(large.vectors[0], 5, as_ids([0, 99_999_999])) == []


def test_a_query_of_another_dimension_is_refused(large: Built) -> None:
    with pytest.raises(ValueError, match="shape"):
        large.index.search(np.ones(3, np.float32), 5)


def test_searches_from_several_threads_while_another_refreshes(small: Built) -> None:
    expected = [small.index.search(query, 10) for query in small.vectors[:50]]
    far = -np.mean(small.vectors[:50], axis=0, dtype=np.float32)
    far /= np.linalg.norm(far)
    errors: list[object] = []
    done = threading.Event()

    def search(first: int) -> None:
        while not done.is_set():
            for row in range(first, 50, 3):
                found = small.index.search(small.vectors[row], 10)
                if found[0] != expected[row][0] or len(found) != 10:
                    errors.append((row, found))

    threads = [threading.Thread(target=search, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        small.source.add(far[None])
        small.index.refresh()
    done.set()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(small.index) == 630

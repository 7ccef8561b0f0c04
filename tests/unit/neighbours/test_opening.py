from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pyrite.neighbours.build import Outcome, update_graph
from pyrite.neighbours.files import GraphFolder, GraphState
from pyrite.neighbours.opening import AutoIndex, open_index
from pyrite.neighbours.protocol import NeighbourIndex, NeighbourOptions
from tests.unit.neighbours.sources import (
    MODEL,
    SqliteSource,
    assert_same,
    brute_force,
    clustered,
)

DIMENSION = 16
#: With one thread a graph is the same each time.
OPTIONS = NeighbourOptions(threads=1, exact_limit=100, tail_limit=20, expansion_add=64)
VECTORS = clustered(np.random.default_rng(41), 600, DIMENSION)


@pytest.fixture
def source() -> SqliteSource:
    return SqliteSource()


def opened(source: SqliteSource, folder: Path) -> AutoIndex:
    return open_index(source, MODEL, folder, OPTIONS)


def update(source: SqliteSource, folder: Path, *, rebuild: bool = False) -> Outcome:
    return update_graph(source, MODEL, folder, options=OPTIONS, rebuild=rebuild)


def check(index: NeighbourIndex, source: SqliteSource) -> None:
    assert len(index) == source.embedding_state(MODEL).count
    for query in VECTORS[:5]:
        assert_same(index.search(query, 10), brute_force(source, query, 10))


def test_few_are_compared_one_by_one(source: SqliteSource, tmp_path: Path) -> None:
    source.add(VECTORS[:100])
    index = opened(source, tmp_path / "none")

    assert (index.is_exact, index.graph_state) == (True, None)
    check(index, source)


def test_without_any(source: SqliteSource, tmp_path: Path) -> None:
    index = opened(source, tmp_path)
    assert (len(index), index.search(VECTORS[0], 5)) == (0, [])


def test_a_graph_is_noticed_when_it_is_published(source: SqliteSource, tmp_path: Path) -> None:
    source.add(VECTORS[:300])
    index = opened(source, tmp_path)
    assert (index.is_exact, index.graph_state) == (True, GraphState.MISSING)
    assert update(source, tmp_path) is Outcome.BUILT
    check(index, source)
    assert index.is_exact

    index.refresh()

    assert (index.is_exact, index.graph_state) == (False, GraphState.USABLE)
    check(index, source)
    source.add(VECTORS[300:])
    index.refresh()
    tail = index._index._tail
    assert len(tail) == 300
    check(index, source)
    assert update(source, tmp_path) is Outcome.EXTENDED
    check(index, source)
    index.refresh()
    assert len(index._index._tail) == 0
    check(index, source)


def test_nothing_is_opened_again_without_need(
    source: SqliteSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.add(VECTORS[:300])
    update(source, tmp_path)
    index = opened(source, tmp_path)
    before = index._index
    monkeypatch.setattr(GraphFolder, "find", None)
    source.add(VECTORS[300:310])
    index.refresh()
    assert index._index is before
    assert len(index) == 310


def test_a_matrix_is_not_read_again_when_the_limit_is_crossed(
    source: SqliteSource, tmp_path: Path
) -> None:
    source.add(VECTORS[:100])
    index = opened(source, tmp_path)
    source.paged = 0
    source.add(VECTORS[100:101])
    index.refresh()
    # The new one, and one that tells the dimension.
    assert (index.graph_state, source.paged) == (GraphState.MISSING, 2)
    check(index, source)


def test_the_limit_is_crossed_both_ways(source: SqliteSource, tmp_path: Path) -> None:
    numbers = source.add(VECTORS[:300])
    update(source, tmp_path)
    index = opened(source, tmp_path)
    assert not index.is_exact
    source.delete(numbers[:250])
    index.refresh()
    assert (index.is_exact, index.graph_state) == (True, None)
    check(index, source)
    source.add(VECTORS[300:])
    index.refresh()
    assert not index.is_exact
    assert update(source, tmp_path) is Outcome.BUILT
    index.refresh()
    check(index, source)


def test_another_database_in_the_same_place(source: SqliteSource, tmp_path: Path) -> None:
    source.add(VECTORS[:300])
    update(source, tmp_path)
    index = opened(source, tmp_path)
    source.database_id = "restored from a backup"
    index.refresh()
    assert (index.is_exact, index.graph_state) == (True, GraphState.FOREIGN)
    check(index, source)


def test_files_that_go_while_they_are_opened(
    source: SqliteSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.add(VECTORS[:300])
    update(source, tmp_path)
    find = GraphFolder.find

    def find_old(*args: object, **more: object) -> object:
        found = find(*args, **more)
        monkeypatch.setattr(GraphFolder, "find", find)
        update(source, tmp_path, rebuild=True)
        return found

    monkeypatch.setattr(GraphFolder, "find", find_old)
    index = opened(source, tmp_path)
    assert (index.is_exact, index.graph_state) == (False, GraphState.USABLE)
    check(index, source)


def test_one_that_is_mapped_outlives_its_files(source: SqliteSource, tmp_path: Path) -> None:
    source.add(VECTORS[:300])
    update(source, tmp_path)
    index = opened(source, tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    check(index, source)


def test_searches_while_graphs_are_published(source: SqliteSource, tmp_path: Path) -> None:
    source.add(VECTORS[:300])
    update(source, tmp_path)
    index = opened(source, tmp_path)
    expected = [brute_force(source, query, 1)[0][0] for query in VECTORS[:30]]
    errors: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            found = [index.search(query, 1)[0][0] for query in VECTORS[:30]]
            if found != expected:
                errors.append(found)

    def refresh() -> None:
        while not done.is_set():
            index.refresh()

    threads = [threading.Thread(target=target) for target in (search, search, refresh, refresh)]
    for thread in threads:
        thread.start()
    for start in range(300, 600, 50):
        source.add(VECTORS[start : start + 50])
        update(source, tmp_path, rebuild=start % 100 == 0)
    done.set()
    for thread in threads:
        thread.join()
    index.refresh()

    assert errors == []
    check(index, source)


@pytest.mark.process
def test_usearch_is_imported_only_for_a_graph() -> None:
    code = (
        "import sys, pyrite.neighbours.opening, pyrite.neighbours.build;"
        "sys.exit('usearch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

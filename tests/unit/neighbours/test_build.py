from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pyrite.neighbours.build import Outcome, Work, due, update_graph
from pyrite.neighbours.codes import Codes
from pyrite.neighbours.files import FilePart, GraphFile, GraphFolder
from pyrite.neighbours.hnsw import Hnsw
from pyrite.neighbours.opening import open_index
from pyrite.neighbours.protocol import NeighbourOptions
from pyrite.storage.records import EmbeddingState
from tests.unit.neighbours.sources import (
    MODEL,
    SqliteSource,
    assert_same,
    brute_force,
    clustered,
)

DIMENSION = 16
#: With one thread a graph is the same each time.
OPTIONS = NeighbourOptions(threads=1, exact_limit=100, tail_limit=50, expansion_add=64, page=64)


@pytest.fixture
def source() -> SqliteSource:
    source = SqliteSource()
    source.add(clustered(np.random.default_rng(31), 1000, DIMENSION))
    return source


def update(source: SqliteSource, folder: Path, **more: object) -> Outcome:
    return update_graph(source, MODEL, folder, options=OPTIONS, **more)


def more(source: SqliteSource, count: int) -> list[int]:
    return source.add(clustered(np.random.default_rng(32), count, DIMENSION))


def published(source: SqliteSource, folder: Path) -> GraphFile:
    file = GraphFolder(folder).find(MODEL, source.database_id, DIMENSION, full=True).file
    assert file is not None
    return file


def ids_in(source: SqliteSource, folder: Path) -> list[int]:
    """The numbers in a published graph; those of its codes and of its nodes are the same."""
    file = published(source, folder)
    ids = Codes(folder / file.codes.name, file.count, file.dimension).ids
    graph = Hnsw.loaded(folder / file.graph.name, OPTIONS)
    assert sorted(graph._index.keys) == ids.tolist()
    assert len(graph) == file.count
    return ids.tolist()


PART = FilePart("", 0, "", "")
FILE = GraphFile(1, "database", MODEL, 0, DIMENSION, 100_000, 100_000, 100_000, PART, PART)


@pytest.mark.parametrize(
    ("count", "last_id", "generation", "file", "expected"),
    [
        (50_000, 50_000, 0, None, Work.NOTHING),
        (50_001, 50_001, 0, None, Work.BUILD),
        (40_000, 90_000, 0, FILE, Work.NOTHING),
        (110_000, 110_000, 0, FILE, Work.NOTHING),
        (110_001, 110_001, 0, FILE, Work.EXTEND),
        # Of a million, ten thousand new ones are not worth the writing.
        (1_049_999, 1_050_000, 0, replace(FILE, last_id=1_000_000, alive=1_000_000), Work.NOTHING),
        (1_060_000, 1_060_000, 0, replace(FILE, last_id=1_000_000, alive=1_000_000), Work.EXTEND),
        # Most of the newer numbers are of other models.
        (100_100, 500_000, 0, FILE, Work.NOTHING),
        # What was deleted makes room in the count, but not in the tail.
        (100_000, 100_000, 1, FILE, Work.COUNT),
        (100_000, 120_000, 1, FILE, Work.EXTEND),
        (100_000, 120_000, 1, replace(FILE, generation=1, alive=80_000), Work.EXTEND),
        (100_000, 100_000, 1, replace(FILE, generation=1, alive=80_000), Work.NOTHING),
    ],
)
def test_what_is_due(
    count: int, last_id: int, generation: int, file: GraphFile | None, expected: Work
) -> None:
    assert due(EmbeddingState("database", generation, count, last_id), file) is expected


def test_nothing_is_built_for_few(tmp_path: Path) -> None:
    source = SqliteSource()
    assert update(source, tmp_path / "graphs") is Outcome.UP_TO_DATE
    more(source, 100)
    assert update(source, tmp_path / "graphs") is Outcome.UP_TO_DATE
    assert not (tmp_path / "graphs").exists()
    assert update(source, tmp_path / "graphs", rebuild=True) is Outcome.BUILT


def test_everything_is_in_it(source: SqliteSource, tmp_path: Path) -> None:
    more(source, 3)
    source.add(np.eye(DIMENSION, dtype=np.float32), model_id=MODEL + 1)
    seen: list[tuple[int, int]] = []

    assert update(source, tmp_path, progress=lambda *now: seen.append(now)) is Outcome.BUILT

    assert ids_in(source, tmp_path) == list(range(1, 1004))
    assert seen == [(min(done, 1003), 1003) for done in range(64, 1003 + 64, 64)]
    file = published(source, tmp_path)
    # The other model's numbers are behind it, too.
    assert (file.last_id, file.count, file.alive) == (1003 + DIMENSION, 1003, 1003)
    assert update(source, tmp_path) is Outcome.UP_TO_DATE


def test_one_that_was_extended_holds_the_same_as_a_new_one(
    source: SqliteSource, tmp_path: Path
) -> None:
    update(source, tmp_path / "extended")
    more(source, 50)
    assert update(source, tmp_path / "extended") is Outcome.UP_TO_DATE
    more(source, 150)
    seen: list[tuple[int, int]] = []
    done = update(source, tmp_path / "extended", progress=lambda *now: seen.append(now))
    assert done is Outcome.EXTENDED
    assert seen == [(1064, 1200), (1128, 1200), (1192, 1200), (1200, 1200)]
    update(source, tmp_path / "new")

    assert ids_in(source, tmp_path / "extended") == ids_in(source, tmp_path / "new")
    files = [published(source, tmp_path / name) for name in ("extended", "new")]
    first, second = [
        Codes(tmp_path / name / file.codes.name, file.count, DIMENSION)
        for name, file in zip(("extended", "new"), files, strict=True)
    ]
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.scales, second.scales)
    query = clustered(np.random.default_rng(33), 1, DIMENSION)[0]
    for name in ("extended", "new"):
        index = open_index(source, MODEL, tmp_path / name, OPTIONS)
        assert_same(index.search(query, 20), brute_force(source, query, 20))


def test_what_is_committed_during_a_build_is_in_it(source: SqliteSource, tmp_path: Path) -> None:
    late: list[int] = []

    def progress(done: int, total: int) -> None:
        assert done <= total
        if not late:
            late.extend(more(source, 5))

    update(source, tmp_path, progress=progress)
    assert ids_in(source, tmp_path) == list(range(1, 1006))


def test_a_cancelled_build_leaves_the_old_file(source: SqliteSource, tmp_path: Path) -> None:
    update(source, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    more(source, 500)
    pages: list[int] = []
    for rebuild in (False, True):
        pages.clear()
        outcome = update(
            source,
            tmp_path,
            rebuild=rebuild,
            progress=lambda done, total: pages.append(done),
            cancelled=lambda: len(pages) == 2,
        )
        assert (outcome, len(pages)) == (Outcome.CANCELLED, 2)
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert len(open_index(source, MODEL, tmp_path, OPTIONS)) == 1500


def test_a_build_that_fails_leaves_the_old_file(source: SqliteSource, tmp_path: Path) -> None:
    update(source, tmp_path)
    before = sorted(tmp_path.iterdir())

    def fail(done: int, total: int) -> None:
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        update(source, tmp_path, rebuild=True, progress=fail)
    assert sorted(tmp_path.iterdir()) == before


def test_of_two_builders_one_builds(source: SqliteSource, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []

    def second(done: int, total: int) -> None:
        thread = threading.Thread(target=lambda: outcomes.append(update(source, tmp_path)))
        thread.start()
        thread.join()

    outcomes.append(update(source, tmp_path, progress=second))

    assert set(outcomes[:-1]) == {Outcome.BUSY}
    assert outcomes[-1] is Outcome.BUILT
    assert update(source, tmp_path) is Outcome.UP_TO_DATE


def test_who_waited_for_nothing_finds_it_built(
    source: SqliteSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look and its lock somebody else has built."""
    find = GraphFolder.find

    def find_late(*args: object, **more: object) -> object:
        found = find(*args, **more)
        monkeypatch.setattr(GraphFolder, "find", find)
        assert update(source, tmp_path) is Outcome.BUILT
        return found

    monkeypatch.setattr(GraphFolder, "find", find_late)
    assert update(source, tmp_path) is Outcome.UP_TO_DATE


def test_few_deleted_ones_are_only_counted(source: SqliteSource, tmp_path: Path) -> None:
    update(source, tmp_path)
    source.delete(range(1, 101))
    graph = published(source, tmp_path).graph

    assert update(source, tmp_path) is Outcome.UP_TO_DATE
    file = published(source, tmp_path)
    assert (file.generation, file.count, file.alive, file.graph) == (1, 1000, 900, graph)
    more(source, 51)
    assert update(source, tmp_path) is Outcome.EXTENDED
    file = published(source, tmp_path)
    assert (file.count, file.alive, file.generation) == (1051, 951, 1)


def test_many_deleted_ones_are_left_out(source: SqliteSource, tmp_path: Path) -> None:
    update(source, tmp_path)
    source.delete(range(1, 202))

    assert update(source, tmp_path) is Outcome.BUILT
    assert ids_in(source, tmp_path) == list(range(202, 1001))


def test_as_many_new_ones_as_were_deleted(source: SqliteSource, tmp_path: Path) -> None:
    """The count is what it was: only a look at which are there tells."""
    update(source, tmp_path)
    fresh = more(source, 1000)
    source.delete(range(1, 1001))

    assert update(source, tmp_path) is Outcome.BUILT
    assert ids_in(source, tmp_path) == fresh


def test_a_graph_that_cannot_be_loaded_is_built_anew(
    source: SqliteSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(source, tmp_path)
    more(source, 100)

    def refuse(*args: object) -> Hnsw:
        raise ValueError("no graph")

    monkeypatch.setattr(Hnsw, "loaded", refuse)
    assert update(source, tmp_path) is Outcome.BUILT
    monkeypatch.undo()
    assert len(ids_in(source, tmp_path)) == 1100

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pyrite.neighbours import exact
from pyrite.neighbours.exact import ExactIndex
from pyrite.neighbours.vectors import CHUNK, NumberedVectors
from tests.unit.neighbours.sources import (
    MODEL,
    SqliteSource,
    as_ids,
    assert_same,
    brute_force,
    clustered,
    random_unit,
)

#: Coordinates from a small set, so that equal vectors and equal scores are common.
VECTOR = st.lists(st.sampled_from([-1.0, -0.5, 0.5, 1.0]), min_size=4, max_size=4).map(
    lambda values: np.array(values, np.float32) / np.float32(np.linalg.norm(values))
)
STEPS = st.one_of(
    *[st.tuples(st.just("add"), st.lists(VECTOR, min_size=1, max_size=8))] * 3,
    st.tuples(st.just("other model"), st.lists(VECTOR, min_size=1, max_size=3)),
    st.tuples(st.just("delete"), st.sets(st.integers(1, 40), max_size=10)),
    st.tuples(st.just("refresh"), st.none()),
)


@settings(derandomize=True)
@given(
    steps=st.lists(STEPS, max_size=12),
    query=VECTOR,
    limit=st.integers(1, 20),
    among=st.none() | st.sets(st.integers(1, 60)),
    page=st.sampled_from([1, 3, 4096]),
)
def test_it_finds_what_brute_force_finds(steps, query, limit, among, page) -> None:
    source = SqliteSource()
    index = ExactIndex(source, MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "PAGE", page)
        for step, what in steps:
            match step:
                case "add":
                    source.add(np.array(what))
                case "other model":
                    source.add(np.array(what), model_id=MODEL + 1)
                case "delete":
                    source.delete(what)
                case "refresh":
                    index.refresh()
        index.refresh()

    expected = brute_force(source, query, limit, among)
    found = index.search(query, limit, None if among is None else as_ids(among))

    assert_same(found, expected)
    assert len(index) == source.embedding_state(MODEL).count
    event(f"{min(len(found), 3)} found or more")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_a_confined_search_finds_the_same_whether_rows_are_gathered_or_not(share: float) -> None:
    rng = np.random.default_rng(1)
    source = SqliteSource()
    numbers = source.add(clustered(rng, 3000, 16))
    among = rng.choice(numbers, int(share * 3000), replace=False).tolist()
    index = ExactIndex(source, MODEL)
    index.refresh()
    for query in random_unit(rng, 5, 16):
        expected = brute_force(source, query, 20, set(among))
        assert_same(index.search(query, 20, as_ids(among)), expected)


def test_a_large_selection_is_gathered_in_parts() -> None:
    rng = np.random.default_rng(2)
    vectors = random_unit(rng, CHUNK * 6, 4)
    ids = np.arange(1, len(vectors) + 1)
    numbered = NumberedVectors(ids, vectors, len(ids))
    rows = np.arange(0, len(ids), 5)

    best = exact.nearest_rows(numbered, vectors[35], 1, rows)

    assert 35 in best
    assert len(rows) > CHUNK
    assert set(best) <= set(rows)


def test_a_refresh_reads_only_what_is_new() -> None:
    rng = np.random.default_rng(3)
    source = SqliteSource()
    source.add(random_unit(rng, 50, 8))
    index = ExactIndex(source, MODEL)
    index.refresh()
    assert source.paged == 50
    source.add(random_unit(rng, 2, 8))
    index.refresh()
    assert source.paged == 52
    source.add(random_unit(rng, 9, 8), model_id=MODEL + 1)
    index.refresh()
    index.refresh()
    assert (source.paged, len(index)) == (52, 52)


def test_what_was_deleted_is_gone_after_a_refresh() -> None:
    rng = np.random.default_rng(4)
    source = SqliteSource()
    vectors = random_unit(rng, 30, 8)
    numbers = source.add(vectors)
    index = ExactIndex(source, MODEL)
    index.refresh()
    source.delete(numbers[:20])

    assert index.search(vectors[3], 1)[0][0] == numbers[3]
    index.refresh()

    assert len(index) == 10
    assert {number for number, _ in index.search(vectors[3], 30)} == set(numbers[20:])


def test_another_database_is_read_anew() -> None:
    rng = np.random.default_rng(5)
    source = SqliteSource()
    source.add(random_unit(rng, 5, 8))
    index = ExactIndex(source, MODEL)
    index.refresh()
    other = SqliteSource("other")
    other.add(random_unit(rng, 3, 8))
    index._source = other
    index.refresh()

    assert len(index) == 3


def test_only_what_is_numbered_above() -> None:
    rng = np.random.default_rng(6)
    source = SqliteSource()
    vectors = random_unit(rng, 10, 8)
    numbers = source.add(vectors)
    index = ExactIndex(source, MODEL, after=numbers[6])
    index.refresh()

    assert {number for number, _ in index.search(vectors[0], 10)} == set(numbers[7:])
    assert source.paged == 3


def test_none_are_found_among_none() -> None:
    source = SqliteSource()
    index = ExactIndex(source, MODEL)
    index.refresh()
    query = np.array([1, 0], np.float32)
    assert (len(index), index.search(query, 3), index.search(query, 3, as_ids([1]))) == (0, [], [])
    source.add(query[None])
    index.refresh()
    assert index.search(query, 0) == index.search(query, 3, as_ids([])) == []
    assert index.search(query, 3, as_ids([2, 9])) == []


def test_a_query_of_another_dimension_is_refused() -> None:
    source = SqliteSource()
    source.add(np.eye(3, dtype=np.float32))
    index = ExactIndex(source, MODEL)
    index.refresh()
    with pytest.raises(ValueError, match="dimension"):
        index.search(np.array([1, 0], np.float32), 1)


def test_searches_while_another_thread_refreshes() -> None:
    """Each finds the best of some moment: never a row that is half written."""
    rng = np.random.default_rng(7)
    source = SqliteSource()
    vectors = random_unit(rng, 2000, 16)
    source.add(vectors[:100])
    index = ExactIndex(source, MODEL)
    index.refresh()
    errors: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            found = index.search(vectors[0], 5)
            scores = [float(vectors[n - 1].astype(np.float64) @ vectors[0]) for n, _ in found]
            if found[0][0] != 1 or not np.allclose(scores, [s for _, s in found], atol=1e-6):
                errors.append(found)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for start in range(100, 2000, 50):
        source.add(vectors[start : start + 50])
        index.refresh()
    done.set()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(index) == 2000

"""The matrix in memory against brute force: after a refresh it finds exactly what is stored."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pyrite.storage.matrix import MatrixIndex
from pyrite.storage.protocol import NeighbourIndex, Storage
from pyrite.storage.records import Neighbour
from tests.conformance.conftest import Opener
from tests.conformance.hands import Worker, chunks, delete, vector, write

Key = tuple[str, str]

KBS = ("kb", "other", "third")
WORDS = ("ash", "birch", "cedar", "elm", "fir")
BODIES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("\n".join)
IDS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
STEPS = st.one_of(
    *[st.tuples(st.just("write"), st.sampled_from(KBS), IDS, BODIES)] * 4,
    st.tuples(st.just("delete"), st.sampled_from(KBS), IDS, st.just("")),
    st.tuples(st.just("embed"), st.just(""), st.just(""), st.just("")),
    st.tuples(st.just("forget"), st.sampled_from(KBS), st.just(""), st.just("")),
    st.tuples(st.just("prune"), st.just(""), st.just(""), st.just("")),
    st.tuples(st.just("refresh"), st.just(""), st.just(""), st.just("")),
)


class BruteForce:
    """What has been embedded, compared text by text."""

    def __init__(self) -> None:
        self.written: dict[Key, str] = {}
        self.embedded: dict[Key, str] = {}

    def forget(self, kb: str) -> None:
        for bodies in (self.written, self.embedded):
            for key in [key for key in bodies if key[0] == kb]:
                del bodies[key]

    def scores(self, query: str, kbs: Collection[str] | None) -> dict[Key, float]:
        """The best score of each entry."""
        wanted = vector(query)
        return {
            key: max(float(vector(chunk.text) @ wanted) for _, chunk in chunks(body))
            for key, body in self.embedded.items()
            if kbs is None or key[0] in kbs
        }


def check(hits: list[Neighbour], truth: BruteForce, query: str, kbs: Collection[str] | None) -> int:
    """Each hit must be what it says, and none better may be missing; returns how many there are."""
    scores = truth.scores(query, kbs)
    keys = [(hit.passage.kb, hit.passage.entry_id) for hit in hits]
    assert len(set(keys)) == len(keys)
    for key, hit in zip(keys, hits, strict=True):
        assert hit.score == pytest.approx(scores[key], abs=1e-6)
        span, chunk = chunks(truth.embedded[key])[hit.passage.ordinal]
        assert (hit.passage.start, hit.passage.end) == (span.start, span.end)
        assert float(vector(chunk.text) @ vector(query)) == pytest.approx(hit.score, abs=1e-6)
    best = sorted(scores.values(), reverse=True)[: len(hits)]
    assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-6)
    return len(scores)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(STEPS, max_size=30),
    query=st.sampled_from((*WORDS, "oak")),
    limit=st.integers(1, 20),
    kbs=st.none() | st.lists(st.sampled_from((*KBS, "nowhere")), max_size=3, unique=True),
)
def test_it_finds_what_brute_force_finds(
    opener: Opener,
    steps: list[tuple[str, str, str, str]],
    query: str,
    limit: int,
    kbs: list[str] | None,
) -> None:
    storage, truth = emptied(opener()), BruteForce()
    worker = Worker(storage)
    index = MatrixIndex(storage, worker.model_id)
    index.refresh()
    for step, kb, entry_id, body in steps:
        match step:
            case "write":
                write(storage, kb, entry_id, body)
                truth.written[kb, entry_id] = body
            case "delete":
                delete(storage, kb, entry_id)
                truth.written.pop((kb, entry_id), None)
                truth.embedded.pop((kb, entry_id), None)
            case "embed":
                worker.embed_all()
                truth.embedded = dict(truth.written)
            case "forget":
                storage.remove_kb(kb, now=0.0)
                storage.add_kb(kb, f"/{kb}", now=0.0)
                truth.forget(kb)
            case "prune":
                storage.prune_events(1)
            case "refresh":
                index.refresh()
    index.refresh()

    assert len(index) == sum(len(chunks(body)) for body in truth.embedded.values())
    hits = index.search(vector(query), limit, kbs)
    assert len(hits) == min(limit, check(hits, truth, query, kbs))
    event(f"{min(len(hits), 3)} hits or more")
    fresh = MatrixIndex(storage, worker.model_id)
    fresh.refresh()
    again = fresh.search(vector(query), limit, kbs)
    check(again, truth, query, kbs)
    assert len(again) == len(hits)
    storage.close()


def emptied(storage: Storage) -> Storage:
    """Hypothesis calls a test many times with one fixture: each begins with nothing."""
    for kb in KBS:
        storage.remove_kb(kb, now=0.0)
        storage.add_kb(kb, f"/{kb}", now=0.0)
    return storage


@pytest.fixture
def index(storage: Storage, worker: Worker) -> MatrixIndex:
    return MatrixIndex(storage, worker.model_id)


def test_an_empty_one_finds_nothing(index: NeighbourIndex) -> None:
    assert (len(index), index.search(vector("ash"), 5)) == (0, [])
    index.refresh()
    assert (len(index), index.search(vector("ash"), 5, ["kb"])) == (0, [])


def test_one_that_was_emptied_finds_nothing(
    storage: Storage, worker: Worker, index: NeighbourIndex
) -> None:
    write(storage, "kb", "a", "ash\nbirch")
    worker.embed_all()
    index.refresh()
    assert len(index) == 2
    delete(storage, "kb", "a")
    index.refresh()

    assert (len(index), index.search(vector("ash"), 5)) == (0, [])


def test_an_entry_is_found_once_by_its_best_passage(
    storage: Storage, worker: Worker, index: NeighbourIndex
) -> None:
    write(storage, "kb", "a", "\n".join(["elm", *["ash"] * 30, "fir"]))
    revision = write(storage, "kb", "b", "birch\ncedar")
    worker.embed_all()
    index.refresh()

    first, second = index.search(vector("ash"), 2)

    assert (first.passage.entry_id, second.passage.entry_id) == ("a", "b")
    assert 1 <= first.passage.ordinal <= 30
    assert first.score == pytest.approx(1.0, abs=1e-6)
    (cedar, _) = index.search(vector("cedar"), 9)
    assert (cedar.passage.ordinal, cedar.passage.revision) == (1, revision)
    assert (cedar.passage.start, cedar.passage.end) == (6, 11)


def test_an_entry_with_the_best_passages_hides_no_other(
    storage: Storage, worker: Worker, index: NeighbourIndex
) -> None:
    write(storage, "kb", "a", "ash\nash")
    write(storage, "kb", "b", "elm")
    worker.embed_all()
    index.refresh()

    assert {hit.passage.entry_id for hit in index.search(vector("ash"), 2)} == {"a", "b"}


def test_a_passage_that_was_moved_is_still_of_its_knowledge_base(
    storage: Storage, worker: Worker, index: NeighbourIndex
) -> None:
    for kb, entry_id in (("kb", "a"), ("kb", "b"), ("other", "last")):
        write(storage, kb, entry_id, entry_id)
        worker.embed_all()
    index.refresh()
    delete(storage, "kb", "a")
    index.refresh()

    found = {kb: index.search(vector("a"), 9, [kb]) for kb in ("kb", "other")}
    assert [hit.passage.entry_id for hit in found["kb"]] == ["b"]
    assert [hit.passage.entry_id for hit in found["other"]] == ["last"]


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_below_one_finds_anything(
    storage: Storage, worker: Worker, index: NeighbourIndex, limit: int
) -> None:
    write(storage, "kb", "a")
    worker.embed_all()
    index.refresh()

    assert index.search(vector("text"), limit) == []


def test_it_knows_only_what_it_was_refreshed_with(
    storage: Storage, worker: Worker, index: NeighbourIndex
) -> None:
    write(storage, "kb", "a", "ash")
    worker.embed_all()
    index.refresh()
    write(storage, "kb", "a", "birch")
    worker.embed_all()
    (before,) = index.search(vector("ash"), 1)
    index.refresh()
    (after,) = index.search(vector("ash"), 1)

    assert before.score == pytest.approx(1.0, abs=1e-6)
    assert after.score == pytest.approx(float(vector("ash") @ vector("birch")), abs=1e-6)


def test_it_grows_to_any_size(storage: Storage, worker: Worker, index: NeighbourIndex) -> None:
    for turn in range(12):
        write(storage, "kb", str(turn), "\n".join(f"{turn} {line}" for line in range(turn * 5 + 1)))
        worker.embed_all()
        index.refresh()
    for turn in range(0, 12, 2):
        delete(storage, "kb", str(turn))
    index.refresh()

    for turn in range(1, 12, 2):
        (hit,) = index.search(vector(f"{turn} {turn * 5}"), 1)
        assert (hit.passage.entry_id, hit.passage.ordinal) == (str(turn), turn * 5)
        assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert len(index) == sum(turn * 5 + 1 for turn in range(1, 12, 2))
    assert np.isfinite([hit.score for hit in index.search(vector("x"), 100)]).all()

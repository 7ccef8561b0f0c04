"""What an index of vectors is built on: numbers that grow, and name one vector for ever."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from actors.lifecycle import Embedded
from actors.messages import Claim, Encoded, Piece
from pyrite.storage.protocol import Storage
from pyrite.storage.records import EmbeddingState, Filters, Passage
from pyrite.vault.files import digest_of
from tests.conformance.conftest import Opener
from tests.conformance.hands import (
    Worker,
    chunks,
    delete,
    ending,
    layout,
    true_vectors,
    vector,
    vectors,
    write,
)

EVERYTHING = 1_000_000


def numbers(storage: Storage, worker: Worker) -> list[int]:
    return [number for number, _ in storage.embeddings_after(worker.model_id, 0, EVERYTHING)]


def encode_afresh(worker: Worker, suffix: str, now: float = 1.0) -> None:
    """Have everything encoded again by a model that has come to think otherwise."""
    worker.storage.reembed(None, now=now, force=True, other_than=None)
    for claim in worker.claim(now, 100):
        finish_as(worker, claim, suffix, now)


def finish_as(worker: Worker, claim: Claim, suffix: str, now: float = 1.0) -> None:
    encoded = [Encoded(Piece(claim, c), vector(c.text + suffix)) for c in claim.missing]
    worker.settle(encoded, [ending(claim, Embedded(), now)], now=now)


# Reading them


def test_they_are_read_in_pages_from_any_number(storage: Storage, worker: Worker) -> None:
    body = "\n".join(map(str, range(7)))
    write(storage, "kb", "a", body)
    worker.embed_all()
    whole = storage.embeddings_after(worker.model_id, 0, EVERYTHING)

    assert [number for number, _ in whole] == sorted({number for number, _ in whole})
    assert sorted(blob for _, blob in whole) == sorted(true_vectors(body))
    for size in (1, 3, 7, 8):
        after, pages = 0, []
        while page := storage.embeddings_after(worker.model_id, after, size):
            assert len(page) <= size
            assert page[0][0] > after
            pages += page
            after = page[-1][0]
        assert pages == whole
    assert storage.embeddings_after(worker.model_id, whole[2][0], 2) == whole[3:5]
    assert storage.embeddings_after(worker.model_id, 0, 0) == []


def test_those_that_there_are_can_be_had_by_number(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo\nthree")
    worker.embed_all()
    whole = storage.embeddings_after(worker.model_id, 0, EVERYTHING)
    first, _, third = (number for number, _ in whole)

    assert storage.embeddings_by_id(worker.model_id, [third, 10_000, first, 0, -1]) == [
        whole[0],
        whole[2],
    ]
    assert storage.embeddings_by_id(worker.model_id, [third, first, third]) == [whole[0], whole[2]]
    assert storage.embeddings_by_id(worker.model_id, {n for n, _ in whole}) == whole
    assert storage.embeddings_by_id(worker.model_id, []) == []
    assert storage.embeddings_by_id(worker.model_id, range(100_000)) == whole


def test_each_text_has_one_however_often_it_is_used(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\none\ntwo")
    write(storage, "other", "b", "one")
    worker.embed_all()

    assert len(numbers(storage, worker)) == 2
    of_a = [p.embedding_id for p in layout(storage, worker.model_id, "kb", "a")]
    (of_b,) = layout(storage, worker.model_id, "other", "b")
    assert of_a == [of_b.embedding_id, of_b.embedding_id, of_a[2]]
    assert {(p.kb, p.entry_id, p.ordinal) for p in storage.passages([of_b.embedding_id])} == {
        ("kb", "a", 0),
        ("kb", "a", 1),
        ("other", "b", 0),
    }


def test_passages_say_where_they_are(storage: Storage, worker: Worker) -> None:
    revision = write(storage, "kb", "a", "one\ntwo")
    claim = worker.claim_one()
    headings = (("Ä", 'in "quotes" 🪨'), ())
    spans = [replace(s, headings=h) for s, h in zip(claim.layout, headings, strict=True)]
    worker.finish(replace(claim, layout=tuple(spans)))
    first, second = numbers(storage, worker)

    expected = [
        Passage("kb", "a", 0, 0, 3, revision, ("Ä", 'in "quotes" 🪨'), first),
        Passage("kb", "a", 1, 4, 7, revision, (), second),
    ]
    assert layout(storage, worker.model_id, "kb", "a") == expected
    assert [passage for passage, _ in storage.embeddings("kb", "a")] == expected
    assert sorted(storage.passages([second, first]), key=lambda p: p.ordinal) == expected
    assert storage.passages([second, second]) == expected[1:]
    assert storage.passages([]) == storage.passages([10_000]) == []
    assert storage.embedding_ids(worker.model_id, Filters()) == [first, second]


def test_an_entry_without_vectors_has_no_passages(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")

    assert layout(storage, worker.model_id, "kb", "a") == []
    assert layout(storage, worker.model_id, "kb", "not there") == []
    assert storage.embedding_ids(worker.model_id, Filters()) == []


def test_an_edit_that_waits_keeps_the_older_passages(storage: Storage, worker: Worker) -> None:
    old = write(storage, "kb", "a", "one\ntwo")
    worker.embed_all()
    write(storage, "kb", "a", "three")

    assert {p.revision for p in layout(storage, worker.model_id, "kb", "a")} == {old}
    assert len(layout(storage, worker.model_id, "kb", "a")) == 2


# Numbers


def test_a_number_is_never_used_again(storage: Storage, worker: Worker) -> None:
    seen: set[int] = set()
    for turn in range(5):
        write(storage, "kb", "a", f"text {turn}")
        worker.embed_all()
        (number,) = set(numbers(storage, worker)) - seen
        assert number > max(seen, default=0)
        seen.add(number)
        delete(storage, "kb", "a")
        assert storage.collect_unused(now=float(turn), unused_s=0.0) == 1
        assert storage.embedding_state(worker.model_id).last_id == number
    assert numbers(storage, worker) == []


def test_encoding_again_without_need_changes_nothing(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one")
    claim = worker.claim_one()
    write(storage, "other", "b", "one")
    another = worker.claim_one()
    assert claim.missing == another.missing
    worker.finish(claim)
    before = storage.embeddings_after(worker.model_id, 0, EVERYTHING)
    finish_as(worker, another, ", of another opinion")

    assert storage.embeddings_after(worker.model_id, 0, EVERYTHING) == before
    assert vectors(storage, "other", "b") == true_vectors("one")


def test_what_is_encoded_afresh_gets_a_new_number(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo\none")
    write(storage, "kb", "b", "one")
    write(storage, "other", "c", "three")
    worker.embed_all()
    old = dict(storage.embeddings_after(worker.model_id, 0, EVERYTHING))
    storage.reembed("kb", now=1.0, force=True, other_than=None)
    (claim,) = worker.claim(1.0, kb="kb", entry_id="a")
    assert {chunk.text for chunk in claim.missing} == {"one", "two"}
    finish_as(worker, claim, "'")

    new = dict(storage.embeddings_after(worker.model_id, max(old), EVERYTHING))
    assert sorted(new.values()) == sorted(vector(t).tobytes() for t in ("one'", "two'"))
    (three,) = set(old) & set(numbers(storage, worker))
    assert storage.embeddings_by_id(worker.model_id, [three]) == [
        (three, vector("three").tobytes())
    ]
    # The old ones are gone, and whoever used them uses the new ones, embedded again or not.
    assert storage.passages(set(old) - {three}) == []
    assert vectors(storage, "kb", "a") == [
        vector(text).tobytes() for text in ("one'", "two'", "one'")
    ]
    assert vectors(storage, "kb", "b") == [vector("one'").tobytes()]
    assert len(storage.known(worker.model_id, [digest_of(b"one"), digest_of(b"two")])) == 2
    # What was just encoded afresh for one entry is not encoded once more for the next.
    (again,) = worker.claim(2.0)
    assert (again.entry_id, again.missing) == ("b", ())


def test_encoding_afresh_moves_even_a_vector_that_is_as_it_was(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    (old,) = numbers(storage, worker)
    encode_afresh(worker, "")

    (new,) = numbers(storage, worker)
    assert new > old
    assert vectors(storage, "kb", "a") == true_vectors("one")
    assert storage.embedding_state(worker.model_id).count == 1


@pytest.mark.parametrize("last", ["to be encoded afresh", "not"])
def test_a_text_is_encoded_afresh_if_any_of_a_batch_wants_it(
    storage: Storage, worker: Worker, last: str
) -> None:
    write(storage, "kb", "a", "one")
    first = worker.claim_one()
    write(storage, "kb", "b", "one")
    worker.finish(worker.claim_one())
    storage.reembed(None, now=1.0, force=True, other_than=None)
    second = worker.claim_one(1.0)
    claims = [first, second] if last == "to be encoded afresh" else [second, first]
    encoded = [Encoded(Piece(claim, claim.missing[0]), vector("one'")) for claim in claims]
    worker.settle(encoded, [ending(claim, Embedded(), 1.0) for claim in claims], now=1.0)

    for name in ("a", "b"):
        assert vectors(storage, "kb", name) == [vector("one'").tobytes()]


# The state that a copy has to agree with


def test_the_state_follows_what_happens(storage: Storage, worker: Worker, opener: Opener) -> None:
    empty = storage.embedding_state(worker.model_id)
    assert empty == EmbeddingState(empty.database_id, empty.generation, 0, 0)
    assert empty.database_id
    assert opener().embedding_state(worker.model_id) == empty

    write(storage, "kb", "a", "one\ntwo")
    worker.embed_all()
    two = storage.embedding_state(worker.model_id)
    assert two == replace(empty, count=2, last_id=numbers(storage, worker)[-1])

    delete(storage, "kb", "a")
    assert storage.embedding_state(worker.model_id) == two
    storage.collect_unused(now=0.0, unused_s=1.0)
    assert storage.embedding_state(worker.model_id) == two
    storage.collect_unused(now=9.0, unused_s=1.0)
    collected = storage.embedding_state(worker.model_id)
    assert collected.generation > two.generation
    assert collected == replace(two, generation=collected.generation, count=0)
    storage.collect_unused(now=99.0, unused_s=1.0)
    assert storage.embedding_state(worker.model_id) == collected


def test_models_are_kept_apart(storage: Storage, worker: Worker) -> None:
    newer = Worker(storage, fingerprint="newer")
    write(storage, "kb", "a", "one\ntwo")
    write(storage, "kb", "b", "two")
    worker.embed_all()
    before = storage.embeddings_after(worker.model_id, 0, EVERYTHING)
    storage.reembed(None, now=1.0, force=False, other_than=newer.model_id)
    (claim,) = newer.claim(1.0, kb="kb", entry_id="a")
    assert len(claim.missing) == 2
    finish_as(newer, claim, "'")

    assert storage.embeddings_after(worker.model_id, 0, EVERYTHING) == before
    theirs = storage.embeddings_after(newer.model_id, 0, EVERYTHING)
    assert min(theirs) > max(before)
    assert sorted(blob for _, blob in theirs) == sorted(
        vector(text).tobytes() for text in ("one'", "two'")
    )
    everything = [number for number, _ in before + theirs]
    assert storage.embeddings_by_id(worker.model_id, everything) == before
    assert storage.embeddings_by_id(newer.model_id, everything) == theirs
    assert [(n, blob) for n, _, blob in storage.cached(newer.model_id, 0, 9)] == theirs
    states = [storage.embedding_state(each.model_id) for each in (worker, newer)]
    assert [state.count for state in states] == [2, 2]
    # An entry has the passages of the model that embedded it last, and of no other.
    assert layout(storage, worker.model_id, "kb", "a") == []
    assert len(layout(storage, newer.model_id, "kb", "a")) == 2
    assert layout(storage, newer.model_id, "kb", "b") == []
    assert storage.embedding_ids(newer.model_id, Filters()) == [n for n, _ in theirs]
    (two,) = storage.embedding_ids(worker.model_id, Filters())
    assert [p.entry_id for p in storage.passages([two])] == ["b"]

    # Only the old model's are collected; the newer one's generation stays what it was.
    newer.embed_all(1.0)
    assert storage.collect_unused(now=2.0, unused_s=0.0) == 2
    after = [storage.embedding_state(each.model_id) for each in (worker, newer)]
    assert [state.count for state in after] == [0, 2]
    assert after[0].generation > states[0].generation
    assert after[1].generation == states[1].generation


# Whatever happens

Key = tuple[str, str]

TREES = ("ash", "birch", "cedar", "elm", "fir")
BODIES = st.lists(st.sampled_from(TREES), min_size=1, max_size=4).map("\n".join)
IDS = st.sampled_from(["a", "b", "c", "d"])
KBS = st.sampled_from(["kb", "other"])
STEPS = st.one_of(
    *[st.tuples(st.just("write"), KBS, IDS, BODIES)] * 3,
    *[st.tuples(st.just("embed"), KBS, IDS, BODIES)] * 2,
    st.tuples(st.just("delete"), KBS, IDS, st.just("")),
    st.tuples(st.just("forget"), KBS, st.just(""), st.just("")),
    st.tuples(st.just("afresh"), st.just(""), st.just(""), st.just("")),
    st.tuples(st.just("collect"), st.just(""), st.just(""), st.just("")),
    st.tuples(st.just("follow"), st.just(""), st.just(""), st.just("")),
)


@dataclass
class Truth:
    """What has been embedded, and by which state of mind of the model."""

    written: dict[Key, str] = field(default_factory=dict)
    embedded: dict[Key, str] = field(default_factory=dict)
    #: By text: the vector that serves it.
    vectors: dict[str, bytes] = field(default_factory=dict)

    def passages(self, kbs: tuple[str, ...] = ()) -> list[tuple[str, str, int, int, int, bytes]]:
        """Every passage that there should be, with the vector that serves it."""
        return sorted(
            (*key, ordinal, span.start, span.end, self.vectors[chunk.text])
            for key, body in self.embedded.items()
            if not kbs or key[0] in kbs
            for ordinal, (span, chunk) in enumerate(chunks(body))
        )


@settings(
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, max_size=30), kbs=st.sampled_from([(), ("kb",), ("kb", "other")]))
def test_whoever_follows_the_numbers_has_every_vector(
    opener: Opener, steps: list[tuple[str, str, str, str]], kbs: tuple[str, ...]
) -> None:
    storage, truth = opener(), Truth()
    worker = Worker(storage)
    for kb in ("kb", "other"):
        storage.remove_kb(kb, now=0.0)
        storage.add_kb(kb, f"/{kb}", now=0.0)
    storage.collect_unused(now=0.0, unused_s=0.0)
    before = storage.embedding_state(worker.model_id)
    assert before.count == 0
    copy: dict[int, bytes] = {}
    through, suffix = before.last_id, ""

    def embed() -> None:
        for claim in worker.claim(limit=100):
            finish_as(worker, claim, suffix)
            truth.vectors |= {c.text: vector(c.text + suffix).tobytes() for c in claim.missing}
        truth.embedded = dict(truth.written)

    for step, kb, entry_id, body in [*steps, ("follow", "", "", "")]:
        match step:
            case "write":
                write(storage, kb, entry_id, body)
                truth.written[kb, entry_id] = body
            case "delete":
                delete(storage, kb, entry_id)
                truth.written.pop((kb, entry_id), None)
                truth.embedded.pop((kb, entry_id), None)
            case "forget":
                storage.remove_kb(kb, now=0.0)
                storage.add_kb(kb, f"/{kb}", now=0.0)
                for entries in (truth.written, truth.embedded):
                    for key in [key for key in entries if key[0] == kb]:
                        del entries[key]
            case "embed":
                embed()
            case "afresh":
                suffix += "'"
                storage.reembed(None, now=0.0, force=True, other_than=None)
                embed()
            case "collect":
                used = {c.text for body in truth.embedded.values() for _, c in chunks(body)}
                there = storage.embedding_state(worker.model_id).count
                assert storage.collect_unused(now=0.0, unused_s=0.0) == there - len(used)
                event("collected" if there > len(used) else "nothing to collect")
            case "follow":
                while new := storage.embeddings_after(worker.model_id, through, 2):
                    assert copy.keys().isdisjoint(dict(new))
                    copy |= dict(new)
                    through = new[-1][0]
                found = storage.passages(copy, Filters(kbs=kbs))
                assert truth.passages(kbs) == sorted(
                    (p.kb, p.entry_id, p.ordinal, p.start, p.end, copy[p.embedding_id])
                    for p in found
                )
                wanted = storage.embedding_ids(worker.model_id, Filters(kbs=kbs))
                assert wanted == sorted({p.embedding_id for p in found})
                still = dict(storage.embeddings_by_id(worker.model_id, copy))
                assert still.items() <= copy.items()
                assert still.keys() >= set(wanted)
    assert storage.embedding_state(worker.model_id).last_id >= through
    assert storage.problems() == {}

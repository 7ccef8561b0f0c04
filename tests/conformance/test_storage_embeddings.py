"""Embeddings: stored once for each text, found by entry, and followed by the index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.messages import Encoded, Piece
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Model, PassageChanges
from tests.conformance.hands import Worker, chunks, delete, true_vectors, vector, vectors, write


def test_a_model_is_entered_once(storage: Storage) -> None:
    assert storage.models() == []
    first = storage.model("fingerprint", "name")
    second = storage.model("another", "name")

    assert first == Model(first.model_id, "fingerprint", "name")
    assert storage.model("fingerprint", "name") == first
    assert storage.models() == [first, second]

    renamed = Model(first.model_id, "fingerprint", "renamed")
    assert storage.model("fingerprint", "renamed") == renamed
    assert storage.models() == [renamed, second]


def test_known_texts_are_those_this_model_has_encoded(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo")
    worker.embed_all()
    one, two, three = (chunk.digest for _, chunk in chunks("one\ntwo\nthree"))

    assert storage.known(worker.model_id, [three, one, two]) == {one, two}
    assert storage.known(worker.model_id, []) == set()
    assert storage.known(Worker(storage, fingerprint="newer").model_id, [one]) == set()


def test_many_texts_can_be_asked_for_at_once(storage: Storage, worker: Worker) -> None:
    body = "\n".join(map(str, range(1200)))
    write(storage, "kb", "a", body)
    worker.embed_all()
    wanted = [chunk.digest for _, chunk in chunks(body)]

    assert storage.known(worker.model_id, [*wanted, b"unknown"]) == set(wanted)


def test_what_is_known_need_not_be_encoded_again(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo")
    worker.embed_all()
    write(storage, "other", "b", "two\nthree\none")
    claim = worker.claim_one()
    assert [chunk.text for chunk in claim.missing] == ["three"]
    worker.finish(claim)

    assert vectors(storage, "other", "b") == true_vectors("two\nthree\none")


def test_an_edit_replaces_the_chunks(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo\nthree")
    worker.embed_all()
    write(storage, "kb", "a", "four")
    assert vectors(storage, "kb", "a") == true_vectors("one\ntwo\nthree")
    worker.embed_all()

    assert vectors(storage, "kb", "a") == true_vectors("four")


def test_a_new_vector_overwrites_the_old_one(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    storage.reembed(None, now=1.0, force=True, other_than=None)
    claim = worker.claim_one(1.0)
    changed = -vector("one")
    worker.settle([Encoded(Piece(claim, claim.missing[0]), changed)], [])

    assert vectors(storage, "kb", "a") == [changed.tobytes()]
    assert len(storage.known(worker.model_id, [claim.missing[0].digest])) == 1


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_vectors_are_stored_as_little_endian_float32(
    storage: Storage, worker: Worker, dtype: str
) -> None:
    write(storage, "kb", "a", "one")
    claim = worker.claim_one()
    given = np.array([0.5, -0.5, 0.5, 0.5], dtype)
    worker.settle([Encoded(Piece(claim, claim.missing[0]), given)], [])
    assert worker.finish(replace(claim, missing=())).lost == ()

    (blob,) = vectors(storage, "kb", "a")
    assert np.frombuffer(blob, "<f4").tolist() == [0.5, -0.5, 0.5, 0.5]


# What an index has to follow


def in_order(changes: PassageChanges) -> list[tuple[str, str, int, bytes]]:
    return sorted((p.kb, p.entry_id, p.ordinal, blob) for p, blob in changes.added)


def expected(kb: str, entry_id: str, body: str) -> list[tuple[str, str, int, bytes]]:
    return [(kb, entry_id, n, blob) for n, blob in enumerate(true_vectors(body))]


def test_at_first_everything_is_new(storage: Storage, worker: Worker) -> None:
    assert storage.passages_since(worker.model_id, None) == PassageChanges(0, True, (), ())
    write(storage, "kb", "a", "one\ntwo")
    write(storage, "kb", "pending later")
    worker.embed_all()
    revision = write(storage, "other", "b", "one")
    worker.embed_all()
    write(storage, "other", "b", "not yet embedded")

    changes = storage.passages_since(worker.model_id, None)

    assert changes.reset
    assert changes.seq == storage.events(0, 100)[-1].seq
    assert in_order(changes) == [
        *expected("kb", "a", "one\ntwo"),
        *expected("kb", "pending later", "text"),
        *expected("other", "b", "one"),
    ]
    assert {p.revision for p, _ in changes.added if p.kb == "other"} == {revision}


def test_nothing_new(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    write(storage, "kb", "a", "edited, not yet embedded")

    assert storage.passages_since(worker.model_id, seq) == PassageChanges(seq, False, (), ())


def test_an_embedded_entry_replaces_what_was_there(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo")
    write(storage, "kb", "untouched")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    write(storage, "kb", "a", "three")
    worker.embed_all()
    write(storage, "kb", "a", "four")
    worker.embed_all()

    changes = storage.passages_since(worker.model_id, seq)

    assert not changes.reset
    assert changes.seq > seq
    assert changes.dropped == (("kb", "a"),)
    assert in_order(changes) == expected("kb", "a", "four")


def test_a_deleted_entry_is_dropped(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    write(storage, "kb", "b")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    delete(storage, "kb", "a")

    assert storage.passages_since(worker.model_id, seq) == PassageChanges(
        seq + 1, False, (("kb", "a"),), ()
    )


def test_a_removed_knowledge_base_means_starting_over(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    write(storage, "other", "b", "one")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    storage.remove_kb("kb", now=1.0)

    changes = storage.passages_since(worker.model_id, seq)

    assert changes.reset
    assert in_order(changes) == expected("other", "b", "one")
    assert storage.passages_since(worker.model_id, changes.seq).reset is False


def test_a_failure_changes_no_passage(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    write(storage, "kb", "a", "edited")
    worker.fail(worker.claim_one(), final=True)

    assert storage.passages_since(worker.model_id, seq) == PassageChanges(seq + 1, False, (), ())


@pytest.mark.parametrize(("keep", "reset"), [(3, False), (2, False), (1, True), (0, True)])
def test_a_gap_in_the_feed_means_starting_over(
    storage: Storage, worker: Worker, keep: int, reset: bool
) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    for body in ("two", "three"):
        write(storage, "kb", "a", body)
        worker.embed_all()
    storage.prune_events(keep)

    changes = storage.passages_since(worker.model_id, seq)

    assert changes.reset is reset
    assert changes.seq == seq + 2
    assert in_order(changes) == expected("kb", "a", "three")
    # Whoever is up to date need not start over, however much has been pruned.
    assert not storage.passages_since(worker.model_id, changes.seq).reset


def test_each_model_has_passages_of_its_own(storage: Storage, worker: Worker) -> None:
    newer = Worker(storage, fingerprint="newer")
    write(storage, "kb", "a", "one")
    write(storage, "kb", "b", "two")
    worker.embed_all()
    seq = storage.passages_since(worker.model_id, None).seq
    storage.reembed(None, now=1.0, force=False, other_than=newer.model_id)
    newer.finish(*newer.claim(1.0, kb="kb", entry_id="a"), now=1.0)

    assert in_order(storage.passages_since(newer.model_id, None)) == expected("kb", "a", "one")
    changes = storage.passages_since(worker.model_id, seq)
    assert changes.dropped == (("kb", "a"),)
    assert changes.added == ()
    assert in_order(storage.passages_since(worker.model_id, None)) == expected("kb", "b", "two")

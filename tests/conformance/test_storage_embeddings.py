"""Embeddings: stored once for each text, found by entry, and kept while they may be of use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.messages import Encoded, Piece
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Model
from pyrite.vault.files import digest_of
from tests.conformance.hands import Worker, chunks, delete, true_vectors, vectors, write


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

    assert storage.known(worker.model_id, [three, one, two]).keys() == {one, two}
    assert storage.known(worker.model_id, []) == {}
    assert storage.known(Worker(storage, fingerprint="newer").model_id, [one]) == {}


def test_many_texts_can_be_asked_for_at_once(storage: Storage, worker: Worker) -> None:
    body = "\n".join(map(str, range(1200)))
    write(storage, "kb", "a", body)
    worker.embed_all()
    wanted = [chunk.digest for _, chunk in chunks(body)]

    assert storage.known(worker.model_id, [*wanted, b"unknown"]).keys() == set(wanted)


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


# A cache of them can be written out and taken in


def test_a_cache_goes_round(storage: Storage, worker: Worker) -> None:
    body = "one\ntwo\nthree"
    write(storage, "kb", "a", body)
    worker.embed_all()
    cache = storage.cached(worker.model_id, 0, 100)

    assert [number for number, _, _ in cache] == sorted({number for number, _, _ in cache})
    given = [(digest, vector) for _, digest, vector in cache]
    expected = {
        chunk.digest: blob
        for (_, chunk), blob in zip(chunks(body), true_vectors(body), strict=True)
    }
    assert dict(given) == expected
    assert storage.cached(worker.model_id, cache[0][0], 1) == cache[1:2]
    assert storage.cached(worker.model_id, cache[-1][0], 9) == []

    another = Worker(storage, fingerprint="another")
    assert storage.add_cached(another.model_id, given[:2]) == 2
    assert storage.add_cached(another.model_id, given) == 1
    assert storage.add_cached(another.model_id, given) == 0
    assert storage.add_cached(another.model_id, []) == 0
    taken = [(digest, vector) for _, digest, vector in storage.cached(another.model_id, 0, 100)]
    assert dict(taken) == expected
    assert storage.cached(worker.model_id, 0, 100) == cache
    # What was taken in need not be encoded.
    storage.reembed(None, now=1.0, force=False, other_than=another.model_id)
    claim = another.claim_one(1.0)
    assert claim.missing == ()
    another.finish(claim, now=1.0)
    assert vectors(storage, "kb", "a") == true_vectors(body)


def test_what_is_there_already_is_not_taken_in(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    before = storage.cached(worker.model_id, 0, 100)
    ((_, digest, _),) = before

    assert storage.add_cached(worker.model_id, [(digest, bytes(16))]) == 0
    assert storage.cached(worker.model_id, 0, 100) == before


def test_a_text_that_is_given_twice_is_taken_in_once(storage: Storage, worker: Worker) -> None:
    assert storage.add_cached(worker.model_id, [(b"x", b"same"), (b"x", b"same")]) == 1
    assert [row[1:] for row in storage.cached(worker.model_id, 0, 9)] == [(b"x", b"same")]


def test_a_large_cache_can_be_taken_in_at_once(storage: Storage, worker: Worker) -> None:
    given = [(f"{number:04}".encode(), bytes([number % 256])) for number in range(1500)]

    assert storage.add_cached(worker.model_id, given) == 1500
    assert storage.add_cached(worker.model_id, [*given, (b"new", b"x")]) == 1
    assert storage.embedding_state(worker.model_id).count == 1501


# What nobody has used for long is deleted


def known(storage: Storage, worker: Worker, *texts: str) -> list[str]:
    return [text for text in texts if storage.known(worker.model_id, [digest_of(text.encode())])]


def test_what_is_unused_is_deleted_after_a_time(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one\ntwo")
    worker.embed_all()
    write(storage, "kb", "a", "two\nthree")
    worker.embed_all()

    # At first it is only noted; when it had last been used nobody knows.
    assert storage.collect_unused(now=1_000.0, unused_s=100.0) == 0
    assert storage.collect_unused(now=1_099.0, unused_s=100.0) == 0
    assert known(storage, worker, "one", "two", "three") == ["one", "two", "three"]
    assert storage.collect_unused(now=1_100.0, unused_s=100.0) == 1
    assert known(storage, worker, "one", "two", "three") == ["two", "three"]
    assert storage.collect_unused(now=9_999.0, unused_s=0.0) == 0
    assert vectors(storage, "kb", "a") == true_vectors("two\nthree")


def test_without_patience_it_is_deleted_at_once(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    storage.remove_kb("kb", now=1.0)

    assert storage.collect_unused(now=1.0, unused_s=0.0) == 1
    assert storage.embedding_state(worker.model_id).count == 0


def test_what_is_used_again_begins_anew(storage: Storage, worker: Worker) -> None:
    def put(body: str) -> None:
        write(storage, "kb", "a", body)
        worker.embed_all()

    put("one")
    put("two")
    assert storage.collect_unused(now=0.0, unused_s=100.0) == 0
    put("one")
    assert storage.collect_unused(now=99.0, unused_s=100.0) == 0  # now "two" is unused
    put("two")
    assert storage.collect_unused(now=150.0, unused_s=100.0) == 0  # and now "one" is, anew
    assert storage.collect_unused(now=249.0, unused_s=100.0) == 0
    assert known(storage, worker, "one", "two") == ["one", "two"]
    assert storage.collect_unused(now=250.0, unused_s=100.0) == 1
    assert known(storage, worker, "one", "two") == ["two"]


def test_nothing_is_deleted_while_anything_is_being_embedded(
    storage: Storage, worker: Worker
) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    delete(storage, "kb", "a")
    write(storage, "other", "b", "one\ntwo")
    claim = worker.claim_one()
    assert [chunk.text for chunk in claim.missing] == ["two"]

    # It is noted all the same.
    assert storage.collect_unused(now=10.0, unused_s=0.0) == 0
    assert storage.collect_unused(now=99.0, unused_s=0.0) == 0
    assert worker.finish(claim, now=99.0).lost == ()
    assert vectors(storage, "other", "b") == true_vectors("one\ntwo")
    delete(storage, "other", "b")
    write(storage, "other", "c", "three")
    storage.release(worker.claim())
    assert storage.collect_unused(now=100.0, unused_s=90.0) == 0
    assert storage.collect_unused(now=190.0, unused_s=90.0) == 2


def test_what_waits_or_has_failed_hinders_no_deletion(storage: Storage, worker: Worker) -> None:
    for name in ("unused", "failed", "waiting"):
        write(storage, "kb", name, name)
    first, second, third = worker.claim()
    worker.finish(first)
    worker.fail(second, final=True)
    worker.fail(third)
    delete(storage, "kb", "unused")

    assert storage.collect_unused(now=1.0, unused_s=0.0) == 1


def test_it_is_not_done_too_often(storage: Storage, worker: Worker) -> None:
    write(storage, "kb", "a", "one")
    worker.embed_all()
    delete(storage, "kb", "a")

    assert storage.collect_unused(now=10_000.0, unused_s=50.0, every_s=100.0) == 0
    assert storage.collect_unused(now=10_099.0, unused_s=50.0, every_s=100.0) == 0
    assert known(storage, worker, "one") == ["one"]
    assert storage.collect_unused(now=10_100.0, unused_s=50.0, every_s=100.0) == 1


def test_any_number_can_be_deleted(storage: Storage, worker: Worker) -> None:
    given = [(f"{number}".encode(), b"x") for number in range(2500)]
    storage.add_cached(worker.model_id, given)

    assert storage.collect_unused(now=1.0, unused_s=0.0) == 2500
    assert storage.embedding_state(worker.model_id).count == 0

"""Only what is new is encoded: embeddings are kept by the hash of the text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from actors.lifecycle import Status
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.vault.entry_files import Draft, Edit
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product, Words

#: Paragraphs of which each fills most of a window of 64 tokens.
PARAGRAPHS = [" ".join(f"word{number}x{word}" for word in range(36)) for number in range(90)]


def text(paragraphs: Sequence[str] = PARAGRAPHS) -> str:
    """A long entry with a heading now and then."""
    return "\n\n".join(
        f"## Part {n // 15}\n\n{paragraph}" if n % 15 == 0 else paragraph
        for n, paragraph in enumerate(paragraphs)
    )


def encoded(encoder: FakeEncoder) -> int:
    return sum(map(len, encoder.calls))


def chunks(product: Product, entry_id: str = "long") -> int:
    return len(product.storage.embeddings(KB, entry_id))


@pytest.fixture
def long(product: Product) -> Product:
    """A product with an entry of 90 chunks that is embedded."""
    product.kbs.create_entry(KB, Draft("Long", body=text()))
    encoder = FakeEncoder()
    product.drain(encoder)
    assert 85 <= chunks(product) <= 110
    assert encoded(encoder) == chunks(product)
    return product


def drained(product: Product) -> int:
    """How many texts are encoded until nothing waits; all entries are then as they should be."""
    encoder = FakeEncoder()
    product.drain(encoder)
    assert all(product.is_embedded(each) for each in product.ids())
    return encoded(encoder)


@pytest.mark.parametrize("place", [0, 1, 14, 15, 44, 88, 89])
@pytest.mark.parametrize("change", ["comma", "other", "longer", "shorter"])
def test_an_edit_of_one_paragraph_encodes_two_chunks_at_most(
    long: Product, place: int, change: str
) -> None:
    old = PARAGRAPHS[place]
    new = {
        "comma": old.replace(" ", ", ", 1),
        "other": "all of this is new " * 9,
        "longer": f"{old} and more",
        "shorter": " ".join(old.split()[:-6]),
    }[change]
    edited = [*PARAGRAPHS[:place], new, *PARAGRAPHS[place + 1 :]]
    long.kbs.update_entry(KB, "long", Edit(body=text(edited)))
    assert 1 <= drained(long) <= 2
    # Switching back is free.
    long.kbs.update_entry(KB, "long", Edit(body=text()))
    assert drained(long) == 0


def test_a_rename_and_a_move_encode_nothing(long: Product) -> None:
    other = long.add_kb("other")
    (long.folder / "long.md").rename(long.folder / "renamed.md")
    long.folders.sync(long.kb)
    assert long.ids() == ["renamed"]
    assert drained(long) == 0
    (long.folder / "renamed.md").rename(other / "moved.md")
    long.folders.sync(long.kb, accept_deletions=True)
    long.folders.sync(long.kbs.kb("other"))
    assert long.ids() == []
    assert drained(long) == 0
    assert len(long.storage.embeddings("other", "moved")) >= 85
    assert long.storage.counts("other").done == 1


def test_a_deleted_entry_that_comes_back_encodes_nothing(long: Product) -> None:
    long.kbs.delete_entry(KB, "long")
    assert drained(long) == 0
    assert long.query("SELECT count(*) FROM chunks") == [(0,)]
    long.kbs.create_entry(KB, Draft("Long", id="again", body=text()))
    assert drained(long) == 0


def test_a_change_of_what_is_not_encoded_encodes_nothing(long: Product) -> None:
    long.kbs.update_entry(KB, "long", Edit({"reviewed": True}, tags=("x",)))
    assert drained(long) == 0
    assert long.status("long") is Status.DONE


def test_identical_text_is_encoded_and_stored_once(product: Product) -> None:
    same = text(PARAGRAPHS[:20])
    product.kbs.create_entry(KB, Draft("Same", id="one", body=same))
    assert drained(product) == chunks(product, "one")
    product.kbs.create_entry(KB, Draft("Same", id="two", body=same))
    assert drained(product) == 0
    # A paragraph that an entry has twice, too.
    repeated = "\n\n".join([PARAGRAPHS[50], PARAGRAPHS[51]] * 10)
    product.kbs.create_entry(KB, Draft("Same", id="three", body=repeated))
    assert drained(product) == 2
    assert chunks(product, "three") == 20
    assert product.query("SELECT count(*) FROM embeddings") == [(chunks(product, "one") + 2,)]


def test_identical_text_that_is_embedded_at_the_same_time_is_encoded_once(
    product: Product,
) -> None:
    for name in ("one", "two", "three"):
        product.kbs.create_entry(KB, Draft("Same", id=name, body=text(PARAGRAPHS[:20])))
    assert drained(product) == chunks(product, "one")
    assert product.query("SELECT count(*) FROM embeddings") == [(chunks(product, "one"),)]


def test_force_encodes_all_of_it_again(long: Product) -> None:
    before = long.query("SELECT id FROM embeddings ORDER BY id")
    assert long.embedding.reembed() == 1
    assert drained(long) == chunks(long)
    after = long.query("SELECT id FROM embeddings ORDER BY id")
    assert len(after) == len(before)
    assert not set(before) & set(after)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_what_was_encoded_of_a_very_long_entry_is_kept(product: Product, how: str) -> None:
    product.kbs.create_entry(KB, Draft("Long", body=text()))
    stopping: list[EmbeddingWorker] = []
    calls: list[int] = []
    token = trio.lowlevel.current_trio_token()

    def interrupt(texts: Sequence[str]) -> None:
        calls.append(len(texts))
        if len(calls) == 4:
            if how == "killed":
                raise KeyboardInterrupt
            trio.from_thread.run_sync(stopping[0].stop, trio_token=token)

    encoder = FakeEncoder(fail=interrupt)
    stopping.append(EmbeddingWorker(product.storage, encoder, product.tuned(batch_texts=5)))
    if how == "killed":
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - alone or in a group
            await stopping[0].process_queue()
        assert "KeyboardInterrupt" in repr(caught.value)
        kept = product.query("SELECT count(*) FROM embeddings")[0][0]
        assert kept in {sum(calls[:2]), sum(calls[:3])}  # the last one may not have been stored yet
    else:
        await stopping[0].process_queue()
        assert product.status("long") is Status.PENDING
        kept = product.query("SELECT count(*) FROM embeddings")[0][0]
        assert kept == sum(calls)
    assert isinstance(kept, int)
    assert product.query("SELECT count(*) FROM chunks") == [(0,)]  # none of it is shown yet
    # As after a crash: this process lives, but its worker does not.
    product.query("UPDATE workers SET process_started = 'another boot:1'")
    encoder = FakeEncoder()
    await EmbeddingWorker(product.storage, encoder, product.settings).process_queue()
    assert encoded(encoder) == chunks(product) - kept
    assert product.is_embedded("long")


async def test_an_entry_that_is_interrupted_each_time_gets_there(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("Long", body=text()))
    encoder = FakeEncoder()
    token = trio.lowlevel.current_trio_token()
    runs = 0
    while product.status("long") is not Status.DONE:
        runs += 1
        worker = EmbeddingWorker(product.storage, encoder, product.tuned(batch_texts=5))

        def stop(_: Sequence[str], worker: EmbeddingWorker = worker) -> None:
            trio.from_thread.run_sync(worker.stop, trio_token=token)

        encoder.fail = stop
        await worker.process_queue()
        assert encoded(encoder) <= 5 * runs
        assert runs < 60
    assert runs > 15
    assert product.is_embedded("long")
    assert encoded(encoder) == chunks(product)
    assert product.query("SELECT attempts FROM embed_queue") == [(1,)]


def test_a_write_splits_nothing(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("this is the pipeline's work")

    with monkeypatch.context() as patched:
        patched.setattr("pyrite.embedding.queue.Splitter", never)
        patched.setattr("pyrite.markdown.chunks.Splitter.split", never)
        patched.setattr(FakeEncoder, "tokenizer", never)
        product.kbs.create_entry(KB, Draft("Long", body=text()))
        product.kbs.update_entry(KB, "long", Edit(body=text(PARAGRAPHS[1:])))
        product.write("b.md", text())
        product.folders.sync(product.kb)
        with pytest.raises(AssertionError, match="the pipeline's work"):
            product.drain(Words())
    product.query("UPDATE workers SET process_started = 'another boot:1'")
    assert drained(product) > 80

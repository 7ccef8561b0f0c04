"""Many new entries at once are as durable as one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.lifecycle import RetryPolicy
from pyrite.errors import NotFoundError, WriteError
from pyrite.knowledge.bulk import BulkStatus
from pyrite.knowledge.service import KBService
from pyrite.storage.protocol import ClaimRequest
from pyrite.vault.entry_files import Draft
from pyrite.vault.prepared_file import PreparedFile
from tests.integration.hands import KB, Product


def drafts(number: int) -> list[Draft]:
    return [
        Draft(title=f"Entry {n}", id=f"many/{n:03}", body=f"Text {n}.\n") for n in range(number)
    ]


def test_each_is_a_file_an_index_row_and_a_queue_row(product: Product) -> None:
    creations = product.kbs.create_entries(KB, drafts(250))
    assert {creation.status for creation in creations} == {BulkStatus.CREATED}
    assert [creation.id for creation in creations][:2] == ["many/000", "many/001"]
    revisions = [creation.revision for creation in creations]
    assert revisions == sorted(set(revisions), key=lambda revision: revision or 0)
    assert len(list((product.folder / "many").glob("*.md"))) == 250
    assert product.storage.counts(KB).pending == 250
    assert product.folders.sync(product.kb).unchanged == 250


def test_they_are_embedded_after_what_somebody_waits_for(product: Product) -> None:
    product.kbs.create_entries(KB, drafts(2))
    product.kbs.create_entry(KB, Draft(title="now"))
    claimed = product.storage.claim(
        ClaimRequest("w", 2e9, 60.0, RetryPolicy(3, 0.0, 0.0), urgent=True)
    )
    assert [due.entry_id for due in claimed.due] == ["now"]


def test_one_that_cannot_be_created_keeps_no_other_from_it(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.write("taken.md")
    product.write("other.markdown")
    (product.folder / "file").write_text("no folder")
    real = PreparedFile.create

    def create(prepared: PreparedFile) -> object:
        if prepared.path.name == "full.md":
            raise OSError(28, "No space left on device")
        return real(prepared)

    monkeypatch.setattr(PreparedFile, "create", create)
    given = [
        Draft(title="", id="taken"),
        Draft(title="", id="other"),
        Draft(title="good"),
        Draft(title="good"),
        Draft(title=" "),
        Draft(title="", id="full"),
        Draft(title="", id="file/inside"),
        Draft(title="x", fields={"title": "y"}),
    ]
    statuses = [creation.status for creation in product.kbs.create_entries(KB, given)]
    assert statuses[:6] == [
        BulkStatus.EXISTS,
        BulkStatus.EXISTS,
        BulkStatus.CREATED,
        BulkStatus.EXISTS,
        BulkStatus.INVALID,
        BulkStatus.FAILED,
    ]
    assert statuses[6] is not BulkStatus.CREATED
    assert statuses[7] is BulkStatus.INVALID
    assert [stored.entry.id for stored in product.kbs.list_entries()] == ["good"]
    assert not list(product.folder.glob(".pyrite-*"))
    again = product.kbs.create_entries(KB, given)
    assert [creation.status for creation in again][2] is BulkStatus.EXISTS


def test_why_is_told_without_a_path(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(prepared: PreparedFile) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreparedFile, "create", create)
    (creation,) = product.kbs.create_entries(KB, [Draft(title="x")])
    assert isinstance(creation.error, WriteError)
    assert str(product.folder) not in creation.error.public
    assert "No space left" in creation.error.public


def test_a_transaction_that_fails_leaves_no_file(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upsert(*args: object, **more: object) -> list[int]:
        raise RuntimeError("power")

    with monkeypatch.context() as patched:
        patched.setattr("pyrite.storage.sqlite.tables.entries.upsert", upsert)
        with pytest.raises(RuntimeError):
            product.kbs.create_entries(KB, drafts(3))
    assert product.kbs.list_entries() == []
    assert [path for path in product.folder.rglob("*") if path.is_file()] == []
    created = product.kbs.create_entries(KB, drafts(3))
    assert {creation.status for creation in created} == {BulkStatus.CREATED}


def test_there_has_to_be_a_knowledge_base(product: Product) -> None:
    with pytest.raises(NotFoundError):
        product.kbs.create_entries("no", drafts(1))
    assert product.kbs.create_entries(KB, []) == []


def test_the_wake_comes_after_the_commit(product: Product, tmp_path: Path) -> None:
    seen = []
    kbs = KBService(
        product.storage,
        product.settings,
        wake=lambda: seen.append(product.storage.counts(KB).total),
    )
    kbs.create_entries(KB, drafts(3))
    kbs.delete_entry(KB, "many/000")
    assert seen == [3, 2]

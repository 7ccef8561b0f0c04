"""The doctor finds each thing that can be wrong, and says what to do about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from actors.lifecycle import RetryPolicy
from pyrite.config.settings import Settings
from pyrite.embedding.process import identity
from pyrite.encoders.local.model_files import DEFAULT_MODEL
from pyrite.errors import FilesMissingError
from pyrite.services import doctor
from pyrite.services.doctor import Finding, Level, examine
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.queue_records import WorkerRow
from pyrite.storage.records import Space
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product


def findings(product: Product, settings: Settings | None = None) -> list[Finding]:
    """All but those on the model, which takes long to read."""
    settings = settings or product.settings
    return list(examine(settings, lambda: product.storage))


def about(product: Product, subject: str, level: Level) -> Finding:
    """The finding on the subject, which must be of that level."""
    found = [each for each in findings(product) if each.subject == subject]
    assert [each.level for each in found] == [level], found
    assert (found[0].action != "") == (level is not Level.OK)
    return found[0]


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the model's weights takes a second; one test does."""
    monkeypatch.setattr(doctor, "model", lambda settings: iter(()))


def test_what_is_healthy_is_said_to_be(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    product.kbs.create_entry(KB, Draft("A"))
    product.embed(FakeEncoder(DEFAULT_MODEL))
    found = findings(product, product.tuned(model=DEFAULT_MODEL))
    assert {each.level for each in found} == {Level.OK}, found
    assert {each.action for each in found} == {""}
    texts = {each.subject: each.text for each in found}
    assert list(texts)[:2] == ["pyrite", "SQLite"]
    assert "all-MiniLM-L6-v2, reads 256 tokens, fingerprint " in texts["model"]
    assert str(product.settings.database_path) in texts["database"]
    assert texts["queue"] == "1 entry, all embedded"
    assert texts[f"folder of {KB}"] == "1 file, all indexed"


def test_a_missing_model_is_an_error(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings = product.tuned(model="/no/such/model")
    (found,) = [each for each in findings(product, settings) if each.subject == "model"]
    assert (found.level, found.action) == (Level.ERROR, "see the setting `model`")
    assert "/no/such/model" in found.text


def test_little_space_is_a_warning(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=499_999_999))
    found = about(product, "disk", Level.WARNING)
    assert found.text == f"499 MB are free beside {product.settings.database_path}"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 10**8))
    about(product, "disk", Level.OK)


def test_what_can_be_done_without_is_named_where_it_is(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ())
    monkeypatch.setattr(doctor, "_EXTRAS", ("trio", "no-such-package"))
    subjects = [each.subject for each in findings(product)]
    assert subjects[:3] == ["pyrite", "SQLite", "trio"]
    assert "no-such-package" not in subjects


def test_an_old_sqlite_is_a_warning(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.51.2")
    assert "3.51.2 can damage" in about(product, "SQLite", Level.WARNING).text
    monkeypatch.setattr(doctor.sqlite3, "sqlite_version", "3.51.3")
    about(product, "SQLite", Level.OK)


def test_a_missing_package_is_an_error(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("trio", "no-such-package"))
    assert about(product, "no-such-package", Level.ERROR).text == "is not installed"
    about(product, "trio", Level.OK)


# The database


def test_a_database_that_is_none_is_an_error(product: Product) -> None:
    path = product.folder.parent / "other.db"
    path.write_bytes(b"This is no database at all. " * 100)
    settings = product.tuned(database=str(path))
    found = list(examine(settings, lambda: SqliteStorage(settings.database_path)))[-1]
    assert (found.level, found.subject) == (Level.ERROR, "database")
    assert "other.db" in found.text
    assert "not a database" in found.text
    assert found.text.count(str(path)) == 1
    assert "doctor" not in found.text
    assert "a backup" in found.action
    assert "`pyrite index sync`" in found.action


def test_a_database_of_a_later_version_is_an_error(product: Product) -> None:
    path = product.folder.parent / "other.db"
    SqliteStorage(path).close()
    other = product.tuned(database=str(path))
    product.settings, kept = other, product.settings
    product.query("PRAGMA user_version = 99")
    product.settings = kept
    found = list(examine(other, lambda: SqliteStorage(path)))[-1]
    assert found.level is Level.ERROR
    assert "made by a later version; upgrade Pyrite" in found.text
    assert found.action == "upgrade Pyrite"


def test_a_damaged_database_is_an_error(product: Product) -> None:
    path = product.folder.parent / "damaged.db"
    storage = SqliteStorage(path)
    storage.add_kb(KB, str(product.folder), now=0.0)
    storage.close()
    raw = bytearray(path.read_bytes())
    page = int.from_bytes(raw[16:18], "big")
    # Everything but the schema.
    raw[4 * page :] = b"\xa5" * (len(raw) - 4 * page)
    path.write_bytes(raw)
    settings = product.tuned(database=str(path))
    found = list(examine(settings, lambda: SqliteStorage(path)))
    bad = [each for each in found if each.level is Level.ERROR]
    assert bad
    assert {each.subject for each in bad} == {"database"}
    assert all("`pyrite index sync`" in each.action for each in bad)


def test_a_large_database_that_is_much_empty_is_a_warning(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has(size: int, empty: int) -> None:
        found = Space(size * 10**6, empty * 10**6)
        monkeypatch.setattr(SqliteStorage, "space", lambda self: found)

    has(size=400, empty=101)
    found = about(product, "space", Level.WARNING)
    assert found.text.startswith("101 of the database's 400 MB are empty")
    assert "`pyrite compact`" in found.action
    for size, empty in ((400, 99), (90, 80)):
        has(size, empty)
        assert "space" not in {each.subject for each in findings(product)}


def test_a_database_too_damaged_to_be_asked_is_an_error(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def malformed(_: SqliteStorage) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStorage, "problems", malformed)
        found = findings(product)[-1]
    assert (found.level, found.subject) == (Level.ERROR, "database")
    assert "database disk image is malformed" in found.text


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("DELETE FROM embed_queue", "entries without a queue row: 1"),
        ("UPDATE embed_queue SET revision = 99", "another revision than their entry: 1"),
        ("DELETE FROM chunks", "whose embedding is missing or of an older text: 1"),
        ("UPDATE queue_counts SET n = 7", "counts of the queue that are wrong"),
        ("DELETE FROM embeddings", "chunks without an embedding: 1"),
        ("DELETE FROM entries", "queue rows without an entry: 1"),
    ],
)
def test_a_broken_promise_is_an_error(product: Product, statement: str, name: str) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    product.embed()
    product.query(statement)
    bad = [each for each in findings(product) if each.level is Level.ERROR]
    assert any(name in each.text for each in bad), bad
    assert {each.subject for each in bad} == {"database"}
    # For the fixture, which looks at every database in the end.
    product.kbs.remove_kb(KB)
    for table in ("embed_queue", "chunks", "queue_counts", "entry_names"):
        product.query(f"DELETE FROM {table}")
    product.query("DELETE FROM queue_counts")


# The queue


def refuse(_: Sequence[str]) -> None:
    raise ValueError("poison")


def test_failures_are_a_warning(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    for _ in range(3):
        product.embed(FakeEncoder(fail=refuse))
    found = about(product, "failures", Level.WARNING)
    assert found.text == "1 of 1 entries could not be embedded"
    assert "--retry-failed" in found.action
    assert not [each for each in findings(product) if each.subject == "queue"]


def test_entries_that_wait_for_nobody_are_a_warning(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    found = about(product, "queue", Level.WARNING)
    assert found.text == "1 of 1 entries wait, and no worker is running"
    assert found.action == "`pyrite index embed` embeds them"


def test_entries_that_a_worker_is_at_are_none(product: Product) -> None:
    product.kbs.create_entry(KB, Draft("A"))
    me, now = identity(), time.time()
    product.storage.beat(
        WorkerRow(me.worker_id, me.pid, me.host, me.process_started, now, now, "idle", None, "m")
    )
    assert about(product, "queue", Level.OK).text == "1 of 1 are under way"
    product.storage.claim(ClaimRequest(me.worker_id, now, 60.0, RetryPolicy()))
    about(product, "queue", Level.OK)


# The folders


def test_a_folder_that_is_gone_is_an_error(product: Product) -> None:
    product.folder.rename(product.folder.with_name("moved"))
    found = about(product, f"folder of {KB}", Level.ERROR)
    assert "is not there" in found.text
    assert f"`pyrite kb remove {KB}`" in found.action


def test_files_that_are_gone_all_at_once_are_an_error_until_a_sync_finds_them(
    product: Product,
) -> None:
    path = product.write("a.md")
    product.folders.sync(product.kb)
    raw = path.read_bytes()
    path.unlink()
    for _ in range(2):
        found = about(product, f"folder of {KB}", Level.ERROR)
        assert "'notes' is unavailable: its only file is gone" in found.text
        assert "--accept-deletions" in found.action
        with pytest.raises(FilesMissingError):
            product.folders.sync(product.kb)
    path.write_bytes(raw)
    found = about(product, f"folder of {KB}", Level.WARNING)
    assert "the files are back, and writes still refused" in found.text
    product.folders.sync(product.kb)
    about(product, f"folder of {KB}", Level.OK)


def test_files_changed_since_the_last_sync_are_a_warning(product: Product) -> None:
    for name in "abc":
        product.write(f"{name}.md", name)
    product.folders.sync(product.kb)
    product.write("a.md", "changed")
    product.write("d.md", "new")
    (product.folder / "b.md").unlink()
    found = about(product, f"folder of {KB}", Level.WARNING)
    assert found.text == "2 files new or changed, and 1 gone, since the last sync"
    assert f"`pyrite index sync --kb {KB}`" in found.action
    product.folders.sync(product.kb)
    about(product, f"folder of {KB}", Level.OK)


def test_each_file_that_cannot_be_read_is_a_warning(product: Product) -> None:
    product.write("bad.md", "---\na: [\n---\n")
    (product.folder / "link.md").symlink_to("/etc/passwd")
    found = [each for each in findings(product) if each.subject == f"folder of {KB}"]
    warned = [each.text for each in found if each.level is Level.WARNING]
    assert any(text.startswith("bad.md:2: not valid YAML") for text in warned), warned
    assert any(text.startswith("link.md: it is a link out of") for text in warned), warned

"""Embeddings can be carried elsewhere, and only what nobody needs is thrown away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.lifecycle import RetryPolicy
from pyrite.embedding.cache import export_cache, import_cache
from pyrite.embedding.service import DAY_S, EmbeddingService
from pyrite.errors import CacheFileError
from pyrite.storage.protocol import ClaimRequest
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.vault.entry_files import Draft, Edit
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import KB, Product


@pytest.fixture
def embedded(product: Product) -> Product:
    """Thirty entries that are embedded, by two models."""
    product.fill({f"n{n:02}": f"text {n}" for n in range(30)})
    product.drain(FakeEncoder("other"))
    product.drain()
    return product


@pytest.fixture
def elsewhere(product: Product, tmp_path: Path) -> Iterator[Product]:
    """The same folder on another computer, with nothing embedded."""
    settings = replace(product.settings, home=tmp_path / "elsewhere")
    made = Product(settings.home, product.folder, settings)
    with made.opened:
        yield made
        assert made.storage.problems() == {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "embeddings.db"


def altered(file: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql, values)


def encoded(product: Product, model: str = "fake") -> int:
    product.folders.sync(product.kb)
    encoder = FakeEncoder(model)
    product.drain(encoder)
    assert all(product.is_embedded(each) for each in product.ids())
    return sum(map(len, encoder.calls))


# To and fro


def test_what_was_exported_need_not_be_encoded_elsewhere(
    embedded: Product, elsewhere: Product, file: Path
) -> None:
    exported = export_cache(embedded.storage, file)
    assert (exported.models, exported.embeddings) == (2, 60)
    imported = import_cache(elsewhere.storage, file)
    assert (imported.models, imported.embeddings, imported.added) == (2, 60, 60)
    again = import_cache(elsewhere.storage, file)
    assert (again.embeddings, again.added) == (60, 0)
    for model in ("fake", "other", "fake"):
        assert encoded(elsewhere, model) == 0
    assert encoded(elsewhere, "third") == 30


def test_only_what_is_lacking_is_taken_in(
    embedded: Product, elsewhere: Product, file: Path
) -> None:
    elsewhere.folders.sync(elsewhere.kb)
    elsewhere.embedding.embed_entry(FakeEncoder(), KB, "n00")
    export_cache(embedded.storage, file)
    assert import_cache(elsewhere.storage, file).added == 59
    embedded.fill({"new": "new text"})
    elsewhere.drain()
    assert encoded(elsewhere) == 1


def test_no_text_is_in_the_file(embedded: Product, file: Path) -> None:
    export_cache(embedded.storage, file)
    raw = file.read_bytes()
    assert b"text 1" not in raw
    assert b"n01" not in raw


def test_progress_is_told(
    embedded: Product, elsewhere: Product, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrite.embedding.cache._PAGE", 20)
    said: list[tuple[int, int]] = []
    export_cache(embedded.storage, file, lambda *now: said.append(now))
    assert said == [(20, 60), (30, 60), (50, 60), (60, 60)]
    said.clear()
    import_cache(elsewhere.storage, file, lambda *now: said.append(now))
    assert said == [(20, 60), (30, 60), (50, 60), (60, 60)]
    assert encoded(elsewhere) == 0


def test_nothing_at_all_can_be_carried_too(
    product: Product, elsewhere: Product, file: Path
) -> None:
    assert export_cache(product.storage, file).embeddings == 0
    assert import_cache(elsewhere.storage, file).embeddings == 0


def test_a_file_of_embeddings_is_replaced_and_any_other_is_not(
    embedded: Product, file: Path, tmp_path: Path
) -> None:
    export_cache(embedded.storage, file)
    embedded.fill({"new": "new text"})
    embedded.drain()
    assert export_cache(embedded.storage, file).embeddings == 61
    for other in (b"a letter", b"", embedded.settings.database_path.read_bytes()):
        file.write_bytes(other)
        with pytest.raises(CacheFileError, match="is not a file of embeddings"):
            export_cache(embedded.storage, file)
        assert file.read_bytes() == other
    assert list(tmp_path.glob(".*partial*")) == []


def test_an_export_that_is_interrupted_leaves_the_file_as_it_was(
    embedded: Product, file: Path, tmp_path: Path
) -> None:
    export_cache(embedded.storage, file)
    before = file.read_bytes()

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_cache(embedded.storage, file, interrupt)
    assert file.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_a_place_that_cannot_be_written_is_refused(embedded: Product, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in {
        tmp_path / "none" / "x.db": "cannot be written: No such file or directory",
        tmp_path / "file" / "x.db": "cannot be written: Not a directory",
        tmp_path: "there is no file",
    }.items():
        with pytest.raises(CacheFileError, match=reason):
            export_cache(embedded.storage, path)


# What is refused


def refused(product: Product, file: Path) -> str:
    before = product.query("SELECT count(*) FROM embeddings")
    with pytest.raises(CacheFileError) as caught:
        import_cache(product.storage, file)
    assert product.query("SELECT count(*) FROM embeddings") == before
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_none_is_refused(elsewhere: Product, file: Path, tmp_path: Path) -> None:
    assert "there is no file" in refused(elsewhere, file)
    assert "there is no file" in refused(elsewhere, tmp_path)
    for raw in (b"", b"a letter " * 1000, elsewhere.settings.database_path.read_bytes()):
        file.write_bytes(raw)
        assert "is not a file of embeddings" in refused(elsewhere, file)


def test_a_file_of_another_format_is_refused(
    embedded: Product, elsewhere: Product, file: Path
) -> None:
    export_cache(embedded.storage, file)
    altered(file, "PRAGMA user_version = 2")
    assert "has format 2, and this Pyrite reads format 1" in refused(elsewhere, file)
    altered(file, "PRAGMA user_version = 1")
    altered(file, "DROP TABLE embeddings")
    assert "or damaged" in refused(elsewhere, file)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(
    product: Product, elsewhere: Product, file: Path, part: float
) -> None:
    product.fill({f"n{n:03}": f"text {n}" for n in range(300)})
    product.drain()
    export_cache(product.storage, file)
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(CacheFileError, match="or damaged"):
        import_cache(elsewhere.storage, file)
    assert encoded(elsewhere) > 0  # what was taken in before is right


def unit(dimension: int) -> bytes:
    vector = np.zeros(dimension, "<f4")
    vector[0] = 1
    return vector.tobytes()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("vector", unit(15)), ("vector", unit(17)), ("vector", unit(16)[:-1]), ("vector", b"")),
        *(("vector", bytes(64)), ("vector", b"\xff" * 64), ("vector", unit(16)[::-1])),
        *(("vector", (2 * np.frombuffer(unit(16), "<f4")).tobytes()), ("vector", "text")),
        *(("vector", 7), ("digest", b"short"), ("digest", "text"), ("digest", 7)),
    ],
)
def test_a_vector_that_cannot_be_one_is_refused(
    embedded: Product, elsewhere: Product, file: Path, column: str, value: object
) -> None:
    export_cache(embedded.storage, file)
    for offset in (20, 0):
        chosen = f"SELECT digest FROM embeddings ORDER BY digest LIMIT 1 OFFSET {offset}"
        change = f"UPDATE OR IGNORE embeddings SET {column} = ? WHERE digest IN ({chosen})"
        altered(file, f"{change} AND model_id = 1", value)
        assert "is damaged" in refused(elsewhere, file)


def test_vectors_of_another_length_than_those_there_are_refused(
    embedded: Product, elsewhere: Product, file: Path
) -> None:
    """They would make every search fail."""
    export_cache(embedded.storage, file)
    altered(file, "UPDATE embeddings SET vector = ?", unit(8))
    elsewhere.folders.sync(elsewhere.kb)
    elsewhere.embedding.embed_entry(FakeEncoder("other"), KB, "n00")
    assert "is damaged" in refused(elsewhere, file)


# What is thrown away


def service(product: Product, days: float, **settings: object) -> EmbeddingService:
    """The service so many days from now."""
    return EmbeddingService(
        product.storage, product.tuned(**settings), lambda: time.time() + days * DAY_S
    )


def test_what_is_unused_is_deleted_after_as_long_as_the_settings_say(product: Product) -> None:
    product.fill({f"n{n}": f"text {n}" for n in range(5)})
    product.drain()
    for number in range(3):
        product.kbs.delete_entry(KB, f"n{number}")
    assert service(product, 0, unused_days=7.0).collect_unused() == 0  # seen unused from now on
    assert service(product, 6.9, unused_days=7.0).collect_unused() == 0
    assert service(product, 7.1, unused_days=30.0).collect_unused() == 0
    # Whatever is used again meanwhile is not unused any more.
    product.fill({"n0": "text 0"})
    assert encoded(product) == 0
    assert service(product, 7.1, unused_days=7.0).collect_unused() == 2
    assert service(product, 99, unused_days=7.0).collect_unused() == 0
    assert product.query("SELECT count(*) FROM embeddings") == [(3,)]
    assert all(product.is_embedded(each) for each in product.ids())


def test_all_that_is_unused_is_deleted_at_once_where_that_is_asked_for(
    embedded: Product,
) -> None:
    product = embedded
    assert product.query("SELECT count(*) FROM embeddings") == [(60,)]
    # The other model's are not in use.
    assert product.embedding.collect_unused(everything=True) == 30
    product.kbs.update_entry(KB, "n00", Edit(body="new"))
    assert product.embedding.collect_unused(everything=True) == 0  # it is still found by this one
    product.drain()
    assert product.embedding.collect_unused(everything=True) == 1
    assert product.embedding.collect_unused(everything=True) == 0
    assert encoded(product) == 0


def test_nothing_is_deleted_while_something_is_being_embedded(product: Product) -> None:
    product.fill({"a": "text"})
    product.drain()
    product.kbs.delete_entry(KB, "a")
    product.kbs.create_entry(KB, Draft("B"))
    request = ClaimRequest("somebody", time.time(), 60.0, RetryPolicy(), limit=1)
    (due,) = product.storage.claim(request).due
    assert product.embedding.collect_unused(everything=True) == 0
    assert service(product, 0, unused_days=0.0).collect_unused() == 0
    assert product.query("SELECT count(*) FROM embeddings") == [(1,)]
    product.query("UPDATE embed_queue SET lease_expires_at = 0 WHERE entry_id = ?", due.entry_id)
    product.drain()
    assert product.embedding.collect_unused(everything=True) == 1


def test_what_was_imported_is_kept_until_it_has_long_been_unused(
    embedded: Product, elsewhere: Product, file: Path
) -> None:
    export_cache(embedded.storage, file)
    import_cache(elsewhere.storage, file)
    assert service(elsewhere, 0).collect_unused() == 0
    assert service(elsewhere, 29).collect_unused() == 0
    assert encoded(elsewhere) == 0

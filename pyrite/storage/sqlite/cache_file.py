"""A file of embeddings to carry to another computer: a SQLite database of its own.

It holds, for each model, its fingerprint and the vectors by the hashes of their texts. No text
is in it. Its ``application_id`` and ``user_version`` say what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyrite.errors import CacheFileError
from pyrite.storage.sqlite.driver import sqlite3

#: "PyrE", and the version of the format.
APPLICATION_ID = 0x50797245
FORMAT = 1

_TABLES = """
    CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE,
                         name TEXT NOT NULL);
    CREATE TABLE embeddings (model_id INTEGER NOT NULL REFERENCES models (id),
                             digest BLOB NOT NULL, vector BLOB NOT NULL,
                             PRIMARY KEY (model_id, digest)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model whose embeddings are in the file."""

    model_id: int
    fingerprint: str
    name: str
    count: int


class CacheFile:
    """An open file of embeddings.

    Every method raises :class:`CacheFileError` where the file cannot be read or written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def add_model(self, fingerprint: str, name: str) -> int:
        """Enter a model; returns its number in the file."""
        with _writing(self._path):
            cursor = self._connection.execute(
                "INSERT INTO models (fingerprint, name) VALUES (?, ?)", (fingerprint, name)
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def add(self, model_id: int, vectors: Sequence[tuple[bytes, bytes]]) -> None:
        """Write embeddings (hash of the text, float32 little-endian)."""
        with _writing(self._path):
            self._connection.executemany(
                "INSERT INTO embeddings VALUES (?, ?, ?)",
                ((model_id, digest, vector) for digest, vector in vectors),
            )

    def models(self) -> list[CachedModel]:
        """The models in the file."""
        with _reading(self._path):
            rows = self._connection.execute(
                """SELECT id, fingerprint, name,
                          (SELECT count(*) FROM embeddings WHERE model_id = models.id)
                   FROM models ORDER BY id"""
            ).fetchall()
        return [CachedModel(*row) for row in rows]

    def vectors(self, model_id: int, limit: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """The model's embeddings, in pages."""
        with _reading(self._path):
            cursor = self._connection.execute(
                "SELECT digest, vector FROM embeddings WHERE model_id = ? ORDER BY digest",
                (model_id,),
            )
        while True:
            with _reading(self._path):
                page = cursor.fetchmany(limit)
            if not page:
                return
            yield page


@contextmanager
def create(path: Path) -> Iterator[CacheFile]:
    """A new file, complete when the block is left without an exception.

    Raises:
        CacheFileError: it cannot be written.
    """
    with _writing(path):
        connection = sqlite3.connect(path)
    with closing(connection):
        with _writing(path):
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        yield CacheFile(path, connection)
        with _writing(path):
            connection.commit()


@contextmanager
def open_existing(path: Path) -> Iterator[CacheFile]:
    """A file that is there, to be read.

    Raises:
        CacheFileError: it is not there, is something else, or is damaged.
    """
    if not path.is_file():
        raise CacheFileError(f"there is no file {path}")
    with _reading(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(connection):
        with _reading(path):
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise CacheFileError(f"{path} is not a file of embeddings")
        if version != FORMAT:
            raise CacheFileError(
                f"{path} has format {version}, and this Pyrite reads format {FORMAT}"
            )
        yield CacheFile(path, connection)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CacheFileError(f"{path} is not a file of embeddings, or damaged: {error}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CacheFileError(f"{path} cannot be written: {error}") from error

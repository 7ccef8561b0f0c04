"""Export and import of embeddings: another computer encodes nothing that has been encoded.

Embeddings are addressed by the model's fingerprint and the hash of the text. Whoever has the
same texts and the same model finds them there, whatever the entries are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyrite.errors import CacheFileError
from pyrite.storage.protocol import Storage
from pyrite.storage.sqlite.cache_file import CachedModel, CacheFile, create, open_existing

#: Embeddings read and written at a time.
_PAGE = 1_000

_DIGEST_BYTES = 16

#: How far from 1 a vector's length may be.
_LENGTH_ERROR = 1e-3

#: Called with how many embeddings of how many have been dealt with.
Progress = Callable[[int, int], None]


def silent(done: int, of: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    models: int
    embeddings: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read."""

    models: int
    embeddings: int
    #: How many of them were new.
    added: int


def export_cache(storage: Storage, path: Path, progress: Progress = silent) -> Exported:
    """Write every embedding to a file; one that is a file of embeddings already is replaced.

    Raises:
        CacheFileError: something else is there, or it cannot be written.
    """
    if path.exists():
        with open_existing(path):
            pass
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    states = [(model, storage.embedding_state(model.model_id).count) for model in storage.models()]
    total = sum(count for _, count in states)
    done = 0
    try:
        partial.touch()  # whatever is in the way is an error of the file system here
        with create(partial) as file:
            for model, count in states:
                if not count:
                    continue
                number = file.add_model(model.fingerprint, model.name)
                last = 0
                while page := storage.cached(model.model_id, last, _PAGE):
                    file.add(number, [(digest, vector) for _, digest, vector in page])
                    last = page[-1][0]
                    done += len(page)
                    progress(done, max(done, total))
        partial.replace(path)
    except OSError as error:
        raise CacheFileError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return Exported(sum(count > 0 for _, count in states), done)


def import_cache(storage: Storage, path: Path, progress: Progress = silent) -> Imported:
    """Take in the embeddings of a file; what is there already stays as it is.

    Raises:
        CacheFileError: it is no such file, or one of its embeddings cannot be one. What had
            been taken in before stays.
    """
    done = added = 0
    with open_existing(path) as file:
        models = file.models()
        total = sum(model.count for model in models)
        for model in models:
            for page in _checked_pages(file, model, path, _size_of(storage, model)):
                number = storage.model(model.fingerprint, model.name).model_id
                added += storage.add_cached(number, page)
                done += len(page)
                progress(done, total)
    return Imported(len(models), done, added)


def _size_of(storage: Storage, model: CachedModel) -> int | None:
    """The bytes of each vector that the storage has of a model; None where it has none."""
    for known in storage.models():
        if known.fingerprint == model.fingerprint:
            for _, vector in storage.embeddings_after(known.model_id, 0, 1):
                return len(vector)
    return None


def _checked_pages(
    file: CacheFile, model: CachedModel, path: Path, size: int | None
) -> Iterator[list[tuple[bytes, bytes]]]:
    """A model's embeddings, each checked: all of one size, given or the first one's."""
    for page in file.vectors(model.model_id, _PAGE):
        for digest, vector in page:
            if size is None and isinstance(vector, bytes):
                size = len(vector)
            if not (size and size % 4 == 0 and _is(vector, size) and _is(digest, _DIGEST_BYTES)):
                raise _damaged(path, model)
        lengths = np.linalg.norm(
            np.frombuffer(b"".join(vector for _, vector in page), "<f4").reshape(len(page), -1),
            axis=1,
        )
        if not (np.abs(lengths - 1) < _LENGTH_ERROR).all():
            raise _damaged(path, model)
        yield page


def _is(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _damaged(path: Path, model: CachedModel) -> CacheFileError:
    return CacheFileError(
        f"{path} is damaged: one of the embeddings of {model.name} is no vector of unit length "
        "and of the model's dimension"
    )

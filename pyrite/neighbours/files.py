"""Where graphs are kept, and when one may be used.

For each model the folder holds a graph and its codes, under names that are never used again,
and one small JSON file that names them::

    7.json  7-3f2a9c.usearch  7-3f2a9c.codes  7.lock

Whoever publishes a graph writes and flushes its two files and then replaces the JSON file: that
is the commit. Older files are removed afterwards; a process that has them mapped keeps them.
Everything here is a copy that can be made again, so a file that is missing, damaged or of
another database is a value to act on, and no error.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pyrite.neighbours.codes import file_size

#: Raised whenever files of the version before are not to be used any more.
FORMAT = 1

_NUMBERS = ("model_id", "generation", "dimension", "last_id", "count", "alive")
_PAGE = 4096
_SAMPLED_PAGES = 64
_HASHED_BYTES = 1 << 20


class GraphState(Enum):
    """Whether a model's graph can be used, and if not, why."""

    USABLE = "usable"
    #: There is none.
    MISSING = "missing"
    #: It is of another database, model or dimension, or of another version of Pyrite.
    FOREIGN = "of something else"
    #: It is not what was written.
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file, and what tells that it is whole."""

    name: str
    size: int
    #: BLAKE2b of all bytes.
    digest: str
    #: BLAKE2b of the size, the first and last page, and some between.
    sample: str


@dataclass(frozen=True, slots=True)
class GraphFile:
    """What the JSON file says of a graph."""

    format: int
    database_id: str
    model_id: int
    #: The generation at which its deleted embeddings were last counted.
    generation: int
    dimension: int
    #: No embedding numbered up to this was missing from it when it was built.
    last_id: int
    #: How many embeddings are in it,
    count: int
    #: and about how many of them had not been deleted at that generation.
    alive: int
    graph: FilePart
    codes: FilePart


@dataclass(frozen=True, slots=True)
class Found:
    """A model's graph, if it can be used, and its state."""

    state: GraphState
    file: GraphFile | None = None


class GraphFolder:
    """The folder of one database's graphs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sidecar(self, model_id: int) -> Path:
        """The JSON file that names a model's graph."""
        return self.path / f"{model_id}.json"

    def stamp(self, model_id: int) -> tuple[int, int, int] | None:
        """Changes whenever another graph is published; None where there is none."""
        try:
            stat = self.sidecar(model_id).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def find(self, model_id: int, database_id: str, dimension: int, *, full: bool = False) -> Found:
        """A model's graph, if it is this database's and seems whole.

        Args:
            model_id: the model.
            database_id: the database that its vectors must be of.
            dimension: the components that its vectors must have.
            full: look at every byte (half a second for a million embeddings), and not at a
                few pages.
        """
        try:
            file = parsed(self.sidecar(model_id).read_bytes())
        except FileNotFoundError:
            return Found(GraphState.MISSING)
        except (OSError, ValueError, TypeError, KeyError):
            return Found(GraphState.DAMAGED)
        theirs = (file.format, file.database_id, file.model_id, file.dimension)
        if theirs != (FORMAT, database_id, model_id, dimension):
            return Found(GraphState.FOREIGN)
        whole = file.codes.size == file_size(file.count, dimension) and all(
            self._is_whole(part, full=full) for part in (file.graph, file.codes)
        )
        return Found(GraphState.USABLE, file) if whole else Found(GraphState.DAMAGED)

    def _is_whole(self, part: FilePart, *, full: bool) -> bool:
        path = self.path / part.name
        try:
            if path.stat().st_size != part.size or sample_of(path) != part.sample:
                return False
            return not full or digest_of(path) == part.digest
        except OSError:
            return False

    def part(self, path: Path) -> FilePart:
        """Flush a file that has been written, and describe it."""
        flush(path)
        return FilePart(path.name, path.stat().st_size, digest_of(path), sample_of(path))

    def publish(self, file: GraphFile) -> None:
        """Make a graph, whose parts are written, the one that is used; remove older files."""
        sidecar = self.sidecar(file.model_id)
        draft = self.path / f"{file.model_id}-{os.urandom(6).hex()}.json"
        draft.write_text(json.dumps(asdict(file), indent=2), encoding="utf-8")
        flush(draft)
        draft.replace(sidecar)
        flush(self.path)
        self.tidy(file.model_id, keep={file.graph.name, file.codes.name})

    def tidy(self, model_id: int, keep: set[str]) -> None:
        """Remove a model's files but for these, and what a crash has left of others."""
        for path in self.path.glob(f"{model_id}-*"):
            if path.name not in keep:
                try:
                    path.unlink()
                except OSError:
                    # Where a mapped file cannot be removed, the next to publish will do it.
                    continue


def parsed(text: bytes) -> GraphFile:
    """What a JSON file says.

    Raises:
        ValueError, TypeError, KeyError: it is not one of ours.
    """
    values: dict[str, Any] = json.loads(text)
    if values["format"] != FORMAT:
        # Of another version only this is known.
        nothing = FilePart("", 0, "", "")
        return GraphFile(values["format"], "", 0, 0, 0, 0, 0, 0, nothing, nothing)
    parts = {name: FilePart(**values.pop(name)) for name in ("graph", "codes")}
    numbers = (values[name] for name in _NUMBERS)
    sizes: list[Any] = [part.size for part in parts.values()]
    if not all(isinstance(number, int) for number in (*numbers, *sizes)):
        raise TypeError("a number is none")
    if any(Path(part.name).name != part.name for part in parts.values()):
        raise ValueError("a part is elsewhere")
    return GraphFile(**(values | parts))


def digest_of(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb", buffering=0) as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sample_of(path: Path) -> str:
    """BLAKE2b of a file's size and some pages of it, the first and the last among them."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "little"))
        last = max(0, size - _PAGE)
        for number in range(_SAMPLED_PAGES + 2):
            file.seek(last * number // (_SAMPLED_PAGES + 1))
            digest.update(file.read(_PAGE))
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Have a file or a folder written to disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except PermissionError:
        # A system on which a folder cannot be opened: it has nothing to flush, either.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

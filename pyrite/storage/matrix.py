"""Exact nearest neighbours: one matrix in memory, kept in step with the storage.

The embeddings in the storage are the truth; this is a copy that can be made again at any
time. It learns of changes from the feed, so bringing it up to date costs what has changed.
Vectors have unit length, so one matrix-vector product gives every cosine.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.messages import Vector
from pyrite.storage.protocol import Storage
from pyrite.storage.records import Neighbour, Passage


class MatrixIndex:
    """All passages of one model, searched by comparing with each."""

    def __init__(self, storage: Storage, model_id: int) -> None:
        self._storage = storage
        self._model_id = model_id
        self._seq: int | None = None
        #: Rows move when entries go: a search must not see it half done.
        self._lock = threading.Lock()
        self._clear()

    def __len__(self) -> int:
        return len(self._passages)

    def refresh(self) -> None:
        """Take in what the storage has committed since the last call."""
        with self._lock:
            changes = self._storage.passages_since(self._model_id, self._seq)
            if changes.reset:
                self._clear()
            for key in changes.dropped:
                self._drop(key)
            self._append([p for p, _ in changes.added], [blob for _, blob in changes.added])
            self._seq = changes.seq

    def search(
        self, query: Vector, limit: int, kbs: Collection[str] | None = None
    ) -> list[Neighbour]:
        """The entries with the nearest passages, best first, one passage for each."""
        with self._lock:
            return self._search(query, limit, kbs)

    def _search(self, query: Vector, limit: int, kbs: Collection[str] | None) -> list[Neighbour]:
        count = len(self._passages)
        if not count or limit < 1:
            return []
        scores = self._matrix[:count] @ query
        rows: npt.NDArray[np.intp] = np.arange(count)
        if kbs is not None:
            codes = [self._kb_codes[kb] for kb in kbs if kb in self._kb_codes]
            rows = np.flatnonzero(np.isin(self._kbs[:count], codes))
        found: dict[tuple[str, str], Neighbour] = {}
        wanted = limit
        while True:
            for row in best(rows, scores, wanted):
                passage = self._passages[row]
                found.setdefault(
                    (passage.kb, passage.entry_id), Neighbour(passage, float(scores[row]))
                )
            if len(found) >= limit or wanted >= len(rows):
                return list(found.values())[:limit]
            # Several of the best passages are of one entry: look further down.
            wanted *= 4

    def _clear(self) -> None:
        self._passages: list[Passage] = []
        self._rows: dict[tuple[str, str], set[int]] = {}
        self._kb_codes: dict[str, int] = {}
        self._matrix: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._kbs: npt.NDArray[np.int32] = np.empty(0, np.int32)

    def _append(self, passages: list[Passage], blobs: list[bytes]) -> None:
        if not passages:
            return
        count, total = len(self._passages), len(self._passages) + len(passages)
        vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(len(blobs), -1)
        if total > len(self._matrix):
            room = max(total, count + count // 2)
            self._matrix = grown(self._matrix, count, (room, vectors.shape[1]))
            self._kbs = grown(self._kbs, count, (room,))
        self._matrix[count:total] = vectors
        for row, passage in enumerate(passages, count):
            self._kbs[row] = self._kb_codes.setdefault(passage.kb, len(self._kb_codes))
            self._rows.setdefault((passage.kb, passage.entry_id), set()).add(row)
        self._passages += passages

    def _drop(self, key: tuple[str, str]) -> None:
        """Remove an entry's rows, moving the last row into each gap."""
        for row in sorted(self._rows.pop(key, ()), reverse=True):
            last = len(self._passages) - 1
            moved = self._passages.pop()
            if row != last:
                self._passages[row] = moved
                self._matrix[row] = self._matrix[last]
                self._kbs[row] = self._kbs[last]
                places = self._rows[moved.kb, moved.entry_id]
                places.remove(last)
                places.add(row)


def best(rows: npt.NDArray[np.intp], scores: npt.NDArray[np.float32], count: int) -> list[int]:
    """The ``count`` rows of highest score, best first; equal scores in order of their rows."""
    within = scores[rows]
    if count < len(rows):
        chosen = np.argpartition(-within, count - 1)[:count]
        rows, within = rows[chosen], within[chosen]
    ordered: list[int] = rows[np.lexsort((rows, -within))].tolist()
    return ordered


def grown(array: npt.NDArray[Any], used: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A larger array that begins with the first ``used`` rows of this one."""
    larger = np.empty(shape, array.dtype)
    if used:
        larger[:used] = array[:used]
    return larger

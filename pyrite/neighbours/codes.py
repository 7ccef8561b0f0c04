"""Vectors in a byte a dimension: what a graph compares, and what a confined search reads.

Each vector is scaled so that its largest component becomes 127, and rounded. The cosine does
not see the scale, so a graph may compare codes as they are; the file keeps it, to rank codes by
their products with a query. Of a million vectors of 384 dimensions the products are off by
0.002 at most, so that a few times as many candidates as are wanted hold the nearest.

The file is three arrays for n vectors, each beginning at a multiple of 8 bytes:

    codes   int8     (n, dimension)
    scales  float32  (n,)
    ids     int64    (n,)              in order
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from pyrite.neighbours.protocol import Ids, Matrix, Rows, Vector
from pyrite.neighbours.vectors import by_chunks, highest, products

#: int8, shape (n, dimension).
CodeMatrix: TypeAlias = npt.NDArray[np.int8]
#: float32, shape (n,): what a code is to be multiplied with.
Scales: TypeAlias = npt.NDArray[np.float32]

_LARGEST = 127
_COPIED_BYTES = 1 << 20


def encoded(vectors: Matrix) -> tuple[CodeMatrix, Scales]:
    """The codes of vectors, shape (n, dimension), and their scales, shape (n,)."""
    scales = np.abs(vectors).max(axis=1) / np.float32(_LARGEST)
    # A vector of zeros has no direction: its code is zeros, too.
    divisors = np.where(scales > 0, scales, 1)
    return np.rint(vectors / divisors[:, None]).astype(np.int8), scales.astype(np.float32)


def file_size(count: int, dimension: int) -> int:
    """Bytes of the file of so many codes."""
    return _places(count, dimension)[2] + 8 * count


def _places(count: int, dimension: int) -> tuple[int, int, int]:
    """Where the three arrays begin."""
    scales = -(-count * dimension // 8) * 8
    return 0, scales, scales + -(-4 * count // 8) * 8


class Codes:
    """Codes and numbers of a graph's vectors, mapped from their file."""

    def __init__(self, path: Path, count: int, dimension: int) -> None:
        """Map a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it has another size than so many codes.
        """
        raw: npt.NDArray[np.uint8] = np.asarray(np.memmap(path, np.uint8, mode="r"))
        if raw.size != file_size(count, dimension):
            raise ValueError(f"{path} has {raw.size} bytes")
        _, scales, ids = _places(count, dimension)
        #: int64, shape (n,), in order.
        self.ids: Ids = raw[ids:].view("<i8")
        self.scales: Scales = raw[scales : scales + 4 * count].view("<f4")
        self.matrix: CodeMatrix = raw[: count * dimension].view(np.int8).reshape(count, dimension)

    def __len__(self) -> int:
        return len(self.ids)

    def nearest(self, query: Vector, rows: Rows, count: int) -> Ids:
        """The numbers of the ``count`` rows that seem nearest, in no order."""
        scores = by_chunks(
            rows,
            lambda part: products(self.matrix[part].astype(np.float32), query) * self.scales[part],
        )
        found: Ids = self.ids[rows[highest(scores, count)]]
        return found


class CodesWriter:
    """Writes a file of codes, page by page, in order of the vectors' numbers."""

    def __init__(self, file: BinaryIO, earlier: Codes | None = None) -> None:
        self._file = file
        self._ids: list[Ids] = []
        self._scales: list[Scales] = []
        self.count = 0
        self._code_bytes = 0
        if earlier is not None:
            bytes_of = earlier.matrix.reshape(-1)
            for start in range(0, len(bytes_of), _COPIED_BYTES):
                self._file.write(bytes_of[start : start + _COPIED_BYTES].tobytes())
            self._note(earlier.ids, earlier.scales, bytes_of.size)

    def add(self, ids: Ids, codes: CodeMatrix, scales: Scales) -> None:
        """Write a page, whose numbers are larger than any before."""
        self._file.write(codes.tobytes())
        self._note(ids, scales, codes.size)

    def finish(self) -> None:
        """Write what stands behind the codes."""
        self._pad(self._code_bytes)
        for scales in self._scales:
            self._file.write(scales.astype("<f4").tobytes())
        self._pad(4 * self.count)
        for ids in self._ids:
            self._file.write(ids.astype("<i8").tobytes())

    def _note(self, ids: Ids, scales: Scales, size: int) -> None:
        self._ids.append(ids)
        self._scales.append(scales)
        self.count += len(ids)
        self._code_bytes += size

    def _pad(self, written: int) -> None:
        self._file.write(bytes(-written % 8))

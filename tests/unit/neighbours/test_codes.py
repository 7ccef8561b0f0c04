from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyrite.neighbours.codes import Codes, CodesWriter, encoded, file_size
from tests.unit.neighbours.sources import clustered, random_unit


def written(path: Path, vectors: np.ndarray, ids: np.ndarray, earlier: Codes | None = None) -> None:
    with path.open("wb") as file:
        writer = CodesWriter(file, earlier)
        for start in range(0, len(ids), 10):
            page = slice(start, start + 10)
            writer.add(ids[page], *encoded(vectors[page]))
        writer.finish()
    assert path.stat().st_size == file_size(writer.count, vectors.shape[1])


def test_a_code_is_its_vector_but_for_rounding() -> None:
    vectors = random_unit(np.random.default_rng(1), 100, 384)
    codes, scales = encoded(vectors)

    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    assert np.abs(codes).max(axis=1).tolist() == [127] * 100
    errors = np.abs(codes * scales[:, None] - vectors)
    assert (errors <= scales[:, None] * 0.501).all()
    assert np.abs((codes * scales[:, None]) @ vectors[0] - vectors @ vectors[0]).max() < 0.01


def test_a_vector_of_zeros_has_a_code() -> None:
    codes, scales = encoded(np.zeros((1, 3), np.float32))
    assert (codes.tolist(), scales.tolist()) == ([[0, 0, 0]], [0.0])


@pytest.mark.parametrize("count", [1, 25, 64])
@pytest.mark.parametrize("dimension", [3, 8, 13])
def test_what_is_written_is_read_again(tmp_path: Path, count: int, dimension: int) -> None:
    rng = np.random.default_rng(2)
    vectors = random_unit(rng, count + 20, dimension)
    ids = np.cumsum(rng.integers(1, 9, count + 20))
    written(tmp_path / "first", vectors[:count], ids[:count])
    first = Codes(tmp_path / "first", count, dimension)
    written(tmp_path / "second", vectors[count:], ids[count:], first)
    second = Codes(tmp_path / "second", count + 20, dimension)

    codes, scales = encoded(vectors)
    assert np.array_equal(first.ids, ids[:count])
    assert np.array_equal(second.ids, ids)
    assert np.array_equal(second.matrix, codes)
    assert np.array_equal(second.scales, scales)


def test_the_nearest_codes_are_those_of_the_nearest_vectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = clustered(rng, 3000, 64)
    ids = np.arange(1, 3001)
    written(tmp_path / "codes", vectors, ids)
    codes = Codes(tmp_path / "codes", 3000, 64)
    rows = np.arange(0, 3000, 2)
    for query in clustered(rng, 20, 64):
        best = ids[rows[np.argsort(-(vectors[rows] @ query))[:10]]]
        assert set(best) <= set(codes.nearest(query, rows, 30).tolist())


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "codes", np.eye(3, dtype=np.float32), np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="bytes"):
        Codes(tmp_path / "codes", 2, 3)

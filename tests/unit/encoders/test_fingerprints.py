"""A model's files are hashed once, and again when one of them has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pyrite.encoders.local import model_files
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.encoders.local.model_files import cached_fingerprint as fingerprint
from pyrite.errors import ModelError


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return ModelFiles("m", folder)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files were changed long ago."""
    monkeypatch.setattr(model_files.time, "time_ns", lambda now=time.time_ns: now() + 3600 * 10**9)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each time that the files are hashed."""
    seen: list[str] = []
    real = ModelFiles.fingerprint

    def count(self: ModelFiles) -> str:
        seen.append(self.name)
        return real(self)

    monkeypatch.setattr(ModelFiles, "fingerprint", count)
    return seen


@pytest.mark.usefixtures("later")
def test_is_remembered(files: ModelFiles, hashed: list[str], tmp_path: Path) -> None:
    first = fingerprint(files, tmp_path / "cache")
    assert fingerprint(files, tmp_path / "cache") == first
    assert hashed == ["m"]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", ["content", "times kept", "new file", "weights known"])
def test_a_change_is_seen(
    files: ModelFiles, hashed: list[str], tmp_path: Path, change: str
) -> None:
    first = fingerprint(files, tmp_path / "cache")
    weights = files.path / "model.safetensors"
    if change == "weights known":
        with pytest.raises(ModelError, match="is not the official"):
            fingerprint(ModelFiles("m", files.path, "0" * 64), tmp_path / "cache")
        return
    if change == "new file":
        (files.path / "vocab.txt").write_text("a")
    else:
        seen = weights.stat()
        weights.write_bytes(b"Weights")
        if change == "times kept":
            os.utime(weights, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert fingerprint(files, tmp_path / "cache") != first
    assert len(hashed) == 2


def test_what_has_just_changed_is_not_remembered(
    files: ModelFiles, hashed: list[str], tmp_path: Path
) -> None:
    fingerprint(files, tmp_path / "cache")
    fingerprint(files, tmp_path / "cache")
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stamp": 3', "\0"])
def test_a_damaged_memory_is_no_memory(
    files: ModelFiles, hashed: list[str], tmp_path: Path, content: str
) -> None:
    first = fingerprint(files, tmp_path / "cache")
    (memory,) = (tmp_path / "cache" / "fingerprints").iterdir()
    memory.write_text(content)
    assert fingerprint(files, tmp_path / "cache") == first
    assert len(hashed) == 2


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_written_is_done_without(files: ModelFiles, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert fingerprint(files, tmp_path / "cache") == files.fingerprint()


def test_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no files of a model"):
        fingerprint(ModelFiles("m", tmp_path), tmp_path / "cache")

"""Preparing: what is remembered, what is made anew, and what is done where it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.packing import BatchLimits
from pyrite.config.settings import Settings
from pyrite.encoders import choose
from pyrite.encoders.choose import encoder_of
from pyrite.encoders.local import openvino
from pyrite.encoders.local import sentence_transformers as library
from pyrite.encoders.local.calibrate import Choice
from pyrite.encoders.local.convert import REFUSED
from pyrite.encoders.local.encoder import LoadedModel, LocalEncoder, NotPreparedError
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.encoders.local.openvino_runtime import META, TOKENIZER
from pyrite.encoders.local.sentence_transformers import cuda_at_hand
from pyrite.errors import ModelError


class Steps:
    """Stands in for the two processes; leaves what they would."""

    def __init__(self) -> None:
        self.run: list[str] = []
        self.refused = ""
        self.choice = Choice("float32", 2, 2)

    def __call__(self, module: str, *arguments: str) -> None:
        self.run.append(module.rpartition(".")[2])
        if module.endswith("convert"):
            folder = Path(arguments[2])
            if self.refused:
                (folder / REFUSED).write_text(self.refused)
                return
            for name in (META, TOKENIZER, "model.bin"):
                (folder / name).write_text(name)
        else:
            self.choice.write(Path(arguments[1]))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps()
    core = SimpleNamespace(get_property=lambda _, name: name)
    monkeypatch.setattr(openvino, "_run", made)
    monkeypatch.setattr(openvino, "import_openvino", lambda: SimpleNamespace(Core=lambda: core))
    return made


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    return ModelFiles("m", tmp_path)


def say(_: str) -> None:
    """Nothing."""


def both(files: ModelFiles, folder: Path) -> Choice:
    openvino.converted(files, folder, say)
    return openvino.fitted(files, folder, "exact", 2, say)[1]


def test_is_done_once(steps: Steps, files: ModelFiles, tmp_path: Path) -> None:
    said: list[str] = []
    openvino.converted(files, tmp_path / "c" / "k", said.append)
    assert openvino.fitted(files, tmp_path / "c" / "k", "exact", 2, said.append)[1] == steps.choice
    assert [line.split()[0] for line in said] == ["preparing", "fitting"]
    assert both(files, tmp_path / "c" / "k") == steps.choice
    assert steps.run == ["convert", "calibrate"]


def test_each_setting_is_fitted_by_itself(steps: Steps, files: ModelFiles, tmp_path: Path) -> None:
    both(files, tmp_path / "k")
    for precision, threads in (("exact", 1), ("fast", 2), ("exact", 2)):
        openvino.fitted(files, tmp_path / "k", precision, threads, say)  # type: ignore[arg-type]
    assert steps.run == ["convert", "calibrate", "calibrate", "calibrate"]


def test_a_damaged_choice_is_made_anew(steps: Steps, files: ModelFiles, tmp_path: Path) -> None:
    both(files, tmp_path / "k")
    (choice,) = tmp_path.glob("k-*/choice.json")
    choice.write_text("{}")
    assert both(files, tmp_path / "k") == steps.choice
    assert steps.run == ["convert", "calibrate", "calibrate"]


def test_damaged_weights_are_noticed_when_they_are_needed(
    steps: Steps, files: ModelFiles, tmp_path: Path
) -> None:
    both(files, tmp_path / "k")
    (tmp_path / "k" / "model.bin").write_text("other")
    both(files, tmp_path / "k")
    assert steps.run == ["convert", "calibrate"]
    openvino.fitted(files, tmp_path / "k", "fast", 2, say)
    assert steps.run == ["convert", "calibrate", "convert", "calibrate"]


def test_a_refusal_is_remembered(steps: Steps, files: ModelFiles, tmp_path: Path) -> None:
    steps.refused = "it consists of Router"
    for _ in range(2):
        with pytest.raises(NotPreparedError, match="consists of Router"):
            openvino.converted(files, tmp_path / "k", say)
    assert steps.run == ["convert"]


def test_no_arithmetic_is_remembered(steps: Steps, files: ModelFiles, tmp_path: Path) -> None:
    steps.choice = Choice(cosines={"float32": 0.5})
    for _ in range(2):
        with pytest.raises(NotPreparedError, match=r"keeps the precision.*0\.5"):
            both(files, tmp_path / "k")
    assert steps.run == ["convert", "calibrate"]


def test_a_cache_that_cannot_be_written_is_said(
    steps: Steps, files: ModelFiles, tmp_path: Path
) -> None:
    (tmp_path / "c").write_text("a file")
    with pytest.raises(NotPreparedError, match="cannot be used"):
        openvino.converted(files, tmp_path / "c" / "k", say)
    assert steps.run == []


def test_a_step_that_fails_is_said(files: ModelFiles, tmp_path: Path) -> None:
    with pytest.raises(NotPreparedError, match=r"no\.such.*ended with 1: .*No module named"):
        openvino._run("no.such", "x")
    assert not files.path.joinpath("x").exists()
    assert tmp_path.exists()


class Library:
    """Stands in for the sentence-transformers library."""

    def load(self, *_: object) -> LoadedModel:
        return LoadedModel(self.documents, self.query, 1, BatchLimits())

    def documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.ones((len(texts), 1), np.float32)

    def query(self, text: str) -> np.ndarray:
        return np.full(1, len(text), np.float32)


def settings_of(folder: Path, **settings: Any) -> Settings:
    return Settings(home=folder, cache="c", **{"model": str(folder / "m"), **settings})


def test_without_openvino_the_library_encodes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(choose, "SentenceTransformersBackend", Library)
    said: list[str] = []
    encoder = encoder_of(settings_of(tmp_path, threads=3), said.append)
    assert not encoder.ready
    encoder.load()
    encoder.load()
    assert encoder.ready
    assert len(encoder.encode(["a", "b"])) == 2
    assert encoder.encode_query("abc") == 3
    assert encoder.window == 512
    (line,) = said
    assert "OpenVINO is not installed" in line
    assert encoder.fingerprint() == ModelFiles("m", tmp_path / "m").fingerprint()
    fast = encoder_of(settings_of(tmp_path, precision="fast"), said.append)
    assert fast.fingerprint() == f"{encoder.fingerprint()}+fast"


def test_with_a_graphics_processor_the_library_encodes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    monkeypatch.setattr(choose, "SentenceTransformersBackend", Library)
    monkeypatch.setattr(choose, "cuda_at_hand", lambda: True)
    said: list[str] = []
    encoder = encoder_of(settings_of(tmp_path), said.append)
    encoder.load()
    assert isinstance(encoder, LocalEncoder)
    assert isinstance(encoder._backend, Library)
    assert said == []


@pytest.mark.parametrize(
    ("torch", "status", "devices", "there"),
    [
        ("2.13.0", 0, 1, True),
        ("2.13.0", 0, 0, False),
        ("2.13.0", 100, 1, False),
        ("2.13.0+cpu", 0, 1, False),
    ],
)
def test_a_graphics_processor_is_found_through_its_driver(
    monkeypatch: pytest.MonkeyPatch, torch: str, status: int, devices: int, there: bool
) -> None:
    class Driver:
        def __init__(self, name: str) -> None:
            assert "cuda" in name

        def cuInit(self, _: int) -> int:  # noqa: N802 - the driver's name
            return status

        def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
            count._obj.value = devices
            return 0

    monkeypatch.setattr(library, "version", lambda _: torch)
    monkeypatch.setattr(library.sys, "platform", "linux")
    monkeypatch.setattr(library.ctypes, "CDLL", Driver)
    cuda_at_hand.cache_clear()
    try:
        assert cuda_at_hand() is there
    finally:
        cuda_at_hand.cache_clear()


def test_without_a_driver_there_is_no_graphics_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> object:
        raise OSError("no such library")

    monkeypatch.setattr(library, "version", lambda _: "2.13.0")
    monkeypatch.setattr(library.ctypes, "CDLL", missing)
    cuda_at_hand.cache_clear()
    try:
        assert not cuda_at_hand()
    finally:
        cuda_at_hand.cache_clear()


def test_a_missing_model_is_no_reason_to_fall_back(tmp_path: Path) -> None:
    encoder = encoder_of(settings_of(tmp_path, model=str(tmp_path / "none")), say)
    with pytest.raises(ModelError, match="does not exist"):
        encoder.load()
    assert not encoder.ready

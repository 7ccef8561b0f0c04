"""A copy of the run's prepared model, which no test of another worker touches."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import warnings
from pathlib import Path

import pytest

from pyrite.encoders.local import openvino
from pyrite.encoders.local.arithmetic import Precision
from pyrite.encoders.local.encoder import LocalEncoder
from pyrite.encoders.local.model_files import DEFAULT_MODEL
from pyrite.encoders.local.openvino import OpenVinoBackend


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `./tests/run` has prepared with this code; empty where nothing has been."""
    made = tmp_path_factory.mktemp("prepared") / "cache"
    given = os.environ.get("PYRITE_CACHE")
    if given and (Path(given) / "models").is_dir():
        return shutil.copytree(given, made, ignore=shutil.ignore_patterns("*.lock"))
    made.mkdir()
    return made


def openvino_encoder(cache: Path, precision: Precision = "exact") -> LocalEncoder:
    """The default model by OpenVINO alone."""
    backend = OpenVinoBackend(cache)
    return LocalEncoder(DEFAULT_MODEL, [backend], precision=precision, cache=cache, threads=2)


@pytest.fixture(scope="session")
def encoder(cache: Path) -> LocalEncoder:
    """The default model, prepared unless it is; skips where OpenVINO is not installed."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    made = openvino_encoder(cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "_run", run_here)
        made.load()
    return made


def run_here(module: str, *arguments: str) -> None:
    """A step of preparing in this process, which imports torch anyway."""
    with warnings.catch_warnings():
        # The libraries warn of what the model does, and of one another.
        warnings.simplefilter("ignore")
        importlib.import_module(module).main(*arguments)


@pytest.fixture
def copied(encoder: LocalEncoder, cache: Path, tmp_path: Path) -> Path:
    """A copy of the shared cache, to be damaged."""
    del encoder
    return Path(shutil.copytree(cache, tmp_path / "cache"))

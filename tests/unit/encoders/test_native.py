"""Native libraries live together in one process, in whatever order they are asked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from pyrite.encoders.local.encoder import LocalEncoder

_BOTH = """
import sys
from pathlib import Path
from pyrite.encoders.native import import_usearch
import_usearch()
from pyrite.config.settings import Settings
from pyrite.encoders.choose import encoder_of
encoder = encoder_of(Settings(home=Path(), threads=2, cache=sys.argv[1]), print)
assert len(encoder.encode_query("a query")) == 384
"""


@pytest.mark.model
@pytest.mark.xdist_group("model")
def test_a_model_is_loaded_after_the_graphs_library(encoder: LocalEncoder, cache: Path) -> None:
    """The other way round, OpenVINO raises an error that says nothing."""
    assert encoder.ready
    command = [sys.executable, "-c", _BOTH, str(cache)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("", 0), ended.stderr


def test_without_openvino_the_graphs_library_stands_alone() -> None:
    code = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'openvino' else find(name, *rest);"
        "from pyrite.encoders.native import import_usearch;"
        "assert import_usearch().Index and 'openvino' not in sys.modules"
    )
    assert importlib.util.find_spec("usearch") is not None
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.model
@pytest.mark.xdist_group("model")
def test_the_converter_can_be_had_after_the_library_without_it(encoder: LocalEncoder) -> None:
    assert encoder.ready
    code = (
        "from pyrite.encoders.native import import_openvino as get; import sys;"
        "assert not hasattr(get(), 'convert_model');"
        "assert get(converter=True).convert_model;"
        "assert 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""A product for each process under test, and a gate to hold up its model with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import hands
from tests.integration.hands import Product


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    yield from hands.product(tmp_path)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """No call of the model ends before this file is there, if the process is told of it."""
    return tmp_path / "gate"

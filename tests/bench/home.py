"""Where a benchmark keeps its data, and where the model is that it encodes with."""

from __future__ import annotations

import os
from pathlib import Path

from pyrite.config.settings import Settings


def settings_in(home: Path) -> Settings:
    """The defaults over a home of its own, with the models that are prepared already."""
    return Settings(home=home, cache=os.environ.get("PYRITE_CACHE", ""))

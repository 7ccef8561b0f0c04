"""``pyrite handbook``: the documentation that ships with the product."""

from __future__ import annotations

from pathlib import Path

import click

import pyrite
from pyrite.cli.output import say


@click.command()
def handbook() -> None:
    """Print the folder of Pyrite's own handbook, a knowledge base like any other.

    \b
    Example:
      pyrite kb add handbook "$(pyrite handbook)"
    """
    say(str(Path(pyrite.__file__).parent / "handbook"))

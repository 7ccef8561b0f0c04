"""``python -m tests.campaigns NAME``: run one campaign, in full unless told otherwise."""

from __future__ import annotations

import argparse
import importlib
import sys

from tests.campaigns.campaign import Campaign, run

NAMES = ("kills", "parsers", "power-loss")


def campaign(name: str) -> Campaign:
    """The campaign of that name; only its own module is imported."""
    module = importlib.import_module(f"tests.campaigns.{name.replace('-', '_')}")
    found: Campaign = module.CAMPAIGN
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seed", type=int, default=1)
    enough = parser.add_mutually_exclusive_group()
    enough.add_argument("--count", type=int)
    enough.add_argument("--seconds", type=float)
    given = parser.parse_args()
    sys.exit(run(campaign(given.name), given.seed, given.count, given.seconds))


if __name__ == "__main__":
    main()

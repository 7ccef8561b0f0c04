"""The runner of a campaign: rounds with consecutive seeds, until enough has been tried."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

#: How often the progress is printed, in seconds.
_SAY_EVERY_S = 5.0

#: After so many rounds that found something, a campaign is broken off.
_MOST_FAILURES = 5


class BrokenPromiseError(AssertionError):
    """A round found what must not be; the message says what."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is tried again and again."""

    name: str
    #: One round: given its seed, an empty folder and how much to try in it, it returns how often
    #: it tried what.
    round: Callable[[int, Path, int], Counter[str]]
    #: What is counted.
    unit: str
    #: How much a round tries, and the full form.
    per_round: int
    full: int


def run(campaign: Campaign, seed: int, count: int | None, seconds: float | None) -> int:
    """Run rounds until so much was tried or so long has passed; the exit code.

    The nth round has the nth seed from the first, so that it can be repeated alone.
    """
    tried: Counter[str] = Counter()
    wanted = campaign.full if count is None and seconds is None else count
    began = said = time.monotonic()
    failures = 0
    while failures < _MOST_FAILURES:
        spent = time.monotonic() - began
        if (wanted is not None and tried.total() >= wanted) or (seconds and spent >= seconds):
            break
        left = campaign.per_round if wanted is None else wanted - tried.total()
        size = min(campaign.per_round, left)
        try:
            with TemporaryDirectory(prefix="campaign-") as folder:
                tried += campaign.round(seed, Path(folder), size)
        except BrokenPromiseError as error:
            failures += 1
            print(
                f"{campaign.name}: BROKEN, seed {seed}:\n{error}\nrepeat it with: python -m "
                f"tests.campaigns {campaign.name} --seed {seed} --count {size}",
                flush=True,
            )
            tried["in rounds that failed"] += size
        seed += 1
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            _say(campaign, tried, seed, said - began)
    _say(campaign, tried, seed, time.monotonic() - began)
    print(f"{campaign.name}: {'broken promises found' if failures else 'nothing found'}")
    sys.stdout.flush()
    return int(failures > 0)


def _say(campaign: Campaign, tried: Counter[str], seed: int, seconds: float) -> None:
    parts = ", ".join(f"{number:,} {what}" for what, number in sorted(tried.items()))
    print(
        f"{campaign.name}: {tried.total():,} {campaign.unit} in {seconds:.0f} s, "
        f"next seed {seed}: {parts}",
        flush=True,
    )

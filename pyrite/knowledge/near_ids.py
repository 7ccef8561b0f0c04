"""Ids that may have been meant by one that there is not, found among all of a knowledge base."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pyrite.markdown.ids import entry_id as id_of
from pyrite.markdown.link_targets import key_of, lookup_key
from pyrite.storage.protocol import Storage

#: Ids that are offered, at most.
MOST = 5

#: How alike two ids have to be, in percent, for one to be offered in place of the other: twice
#: the length of what they have in common, in order, of both lengths.
_ALIKE = 50.0

#: Ids in memory at a time, and how long to go on looking, in seconds. A million take about two.
_AT_ONCE = 10_000
_LONGEST_S = 3.0


def near_ids(
    storage: Storage, kb: str, wanted: str, now: Callable[[], float] = time.monotonic
) -> list[str]:
    """The likeliest ids: of the same last part or with that as a name, then those spelled alike."""
    key = lookup_key(wanted)
    named = {each.id for each in storage.names(kb, {key, key_of(wanted)})}
    same = sorted(named, key=lambda each: (lookup_key(each) != key, each))
    return list(dict.fromkeys([*same, *_alike(storage, kb, wanted, now)]))[:MOST]


def _alike(storage: Storage, kb: str, wanted: str, now: Callable[[], float]) -> list[str]:
    """The ids that are spelled most alike, best first, whatever the case."""
    # Imported only here: few calls get this far, and it takes as long as a short command.
    from rapidfuzz import fuzz, process  # noqa: PLC0415

    query = id_of(wanted).casefold()
    best: list[tuple[float, str]] = []
    for ids in _pages(storage, kb, now() + _LONGEST_S, now):
        least = best[-1][0] if len(best) == MOST else _ALIKE
        found = process.extract(
            query, ids, scorer=fuzz.ratio, processor=str.casefold, limit=MOST, score_cutoff=least
        )
        best += [(score, each) for each, score, _ in found]
        best = sorted(best, key=lambda each: (-each[0], each[1]))[:MOST]
    return [each for _, each in best]


def _pages(
    storage: Storage, kb: str, until: float, now: Callable[[], float]
) -> Iterator[list[str]]:
    """The ids of a knowledge base in order, many at a time, for as long as there is time."""
    last = ""
    while (ids := storage.ids(kb, last, _AT_ONCE)) and now() < until:
        yield ids
        last = ids[-1]

"""Fusion of rankings: pure functions over scores.

Rankings by words and by meaning have scores of different kinds. Reciprocal rank fusion
(Cormack, Clarke and Buettcher, SIGIR 2009) looks at the places alone: an entry scores the sum,
over the rankings that have it, of 1 / (k + its place).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyrite.storage.records import Key

#: The constant k; 60 is the paper's. On a labelled collection (`python -m tests.bench quality`),
#: 20 to 100 did equally well.
RANK_CONSTANT = 60

#: How many of the best of each ranking are fused; 100 did worse, 1,000 no better. It does not
#: depend on the page asked for, so that pages follow one another without gap or repetition.
POOL = 300


def ranked(scores: Mapping[Key, float]) -> list[Key]:
    """The keys, best first; equal ones by knowledge base and id."""
    return sorted(scores, key=lambda key: (-scores[key], key))


def places(ranking: Iterable[Key]) -> dict[Key, int]:
    """The place of each in a ranking, counted from 1."""
    return {key: place for place, key in enumerate(ranking, 1)}


def fused(rankings: Sequence[Mapping[Key, int]]) -> dict[Key, float]:
    """The reciprocal rank fusion of several rankings, given as places."""
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for key, place in ranking.items():
            scores[key] = scores.get(key, 0.0) + 1.0 / (RANK_CONSTANT + place)
    return scores

"""Words in memory: enough of a full-text index to be held to the engines' conformance suite."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from pyrite.markdown.entry import Entry
from pyrite.storage.records import WordQuery

K = TypeVar("K", bound=Hashable)

#: Endings that a stemmer takes off, the longest first.
_ENDINGS = ("ing", "es", "ed", "s")
#: A letter or digit, and all that follow it, with the accents that stand on them.
_WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")

#: What a word counts in the title, the summary, the tags and the body.
_WEIGHTS = (2.0, 1.0, 1.0, 1.0)
#: Okapi BM25's usual constants: how soon a word's repetition, and how much a text's length, counts.
_K1, _B = 1.2, 0.75


def stems(text: str) -> list[tuple[str, int, int]]:
    """Each word's stem with its range in characters."""
    return [(stem(m.group()), m.start(), m.end()) for m in _WORD.finditer(text)]


def stem(word: str) -> str:
    """The word without accents, case and ending."""
    plain = unicodedata.normalize("NFD", word.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    for ending in _ENDINGS:
        if plain.endswith(ending) and len(plain) > len(ending) + 2:
            return plain.removesuffix(ending)
    return plain


def occurrences(text: str, wanted: str) -> list[tuple[int, int]]:
    """Ranges of a text at which a word, or words in a row, stand."""
    found, parts = stems(text), [part for part, _, _ in stems(wanted)]
    last = len(found) - len(parts) + 1 if parts else 0
    return [
        (found[first][1], found[first + len(parts) - 1][2])
        for first in range(last)
        if [part for part, _, _ in found[first : first + len(parts)]] == parts
    ]


def places(text: str, query: WordQuery) -> list[tuple[int, int]]:
    """Ranges of a text at which the query's words and phrases stand, those that overlap as one."""
    ranges: list[tuple[int, int]] = []
    wanted = (*query.words, *query.phrases)
    for start, end in sorted({place for each in wanted for place in occurrences(text, each)}):
        if ranges and start < ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(end, ranges[-1][1])
        else:
            ranges.append((start, end))
    return ranges


def word_scores(entries: Mapping[K, Entry], query: WordQuery) -> dict[K, float]:
    """The Okapi BM25 score of each entry that contains what is looked for."""
    # A phrase is required, and is one of the alternatives besides: it counts twice.
    wanted = (*query.phrases, *query.phrases, *query.words)
    texts = {key: _texts(entry) for key, entry in entries.items()}
    counts = {
        key: [[len(occurrences(text, each)) for text in four] for each in wanted]
        for key, four in texts.items()
    }
    lengths = {key: sum(len(stems(text)) for text in four) for key, four in texts.items()}
    usual = sum(lengths.values()) / max(1, len(lengths))
    rarity = [
        _rarity(len(texts), sum(any(c[n]) for c in counts.values())) for n in range(len(wanted))
    ]
    scores = {}
    for key, found in counts.items():
        if any(map(any, found)) and all(map(any, found[: len(query.phrases)])):
            saturation = _K1 * (1 - _B + _B * lengths[key] / usual)
            weights = [sum(w * n for w, n in zip(_WEIGHTS, each, strict=True)) for each in found]
            scores[key] = sum(
                idf * weight * (_K1 + 1) / (weight + saturation)
                for idf, weight in zip(rarity, weights, strict=True)
            )
    return scores


def _texts(entry: Entry) -> Sequence[str]:
    return entry.title, entry.summary, " ".join(entry.tags), entry.body


def _rarity(entries: int, containing: int) -> float:
    idf = math.log((entries - containing + 0.5) / (containing + 0.5))
    return idf if idf > 0 else 1e-6

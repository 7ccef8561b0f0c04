"""Misspelt words: a query with the nearest words of the index, as they stand in a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrite.search.language import (
    MOST_WORDS_AROUND_OPERATORS,
    Field,
    Node,
    Phrase,
    Prefix,
    Word,
    leaves,
    replaced,
)
from pyrite.storage.records import NO_MODEL, WordQuery

if TYPE_CHECKING:
    from pyrite.storage.protocol import Storage

#: Shorter words are a letter away from too many others.
_LEAST = 4


def corrected(storage: Storage, tree: Node) -> Node | None:
    """The tree with the nearest words of the index for those that it does not have.

    None where there is nothing to correct, or nothing near.
    """
    if sum(1 for _ in leaves(tree, excluded=True)) > MOST_WORDS_AROUND_OPERATORS:
        return None

    def nearest(leaf: Word | Prefix | Phrase | Field) -> Node:
        if not isinstance(leaf, Word) or len(leaf.text) < _LEAST or not leaf.text.isalpha():
            return leaf
        if storage.with_words(WordQuery((leaf.text,)), limit=1):
            return leaf
        terms = storage.similar_terms(leaf.text.lower(), 1)
        return Word(_as_written(storage, terms[0])) if terms else leaf

    found = replaced(tree, nearest)
    return None if found == tree else found


def _as_written(storage: Storage, term: str) -> str:
    """A word of a text that has this term, which may be a stem."""
    query = WordQuery((term,))
    for hit in storage.with_words(query, limit=1):
        key = hit.kb, hit.entry_id
        view = storage.views([key], model_id=NO_MODEL, query=query).get(key)
        if view is not None and view.highlights:
            start, end = view.highlights[0]
            word = view.stored.entry.body[start:end]
            if word.isalpha():
                return word.lower()
    return term

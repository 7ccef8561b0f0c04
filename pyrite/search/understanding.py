"""What a query asks for: the words that rank, what has to hold, and the text to be embedded."""

from __future__ import annotations

from dataclasses import dataclass

from pyrite.errors import InvalidQueryError
from pyrite.knowledge.filters import check_filters
from pyrite.search.language import (
    FILTERS,
    PARTS,
    Both,
    Either,
    Exclude,
    Field,
    Leaf,
    Loose,
    Node,
    Phrase,
    Prefix,
    Word,
    leaves,
    parse,
)
from pyrite.search.query import words_of
from pyrite.storage.records import AllOf, AnyOf, Condition, Filters, Not, Terms, WordQuery

#: Phrases, fields, excluded words and alternatives of one query.
MOST_OPERANDS = 100

#: A longer phrase takes seconds to look for in a large base.
MOST_WORDS_OF_A_PHRASE = 100

#: The longest value of a field.
MOST_CHARACTERS_OF_A_VALUE = 1000


@dataclass(frozen=True, slots=True)
class Understood:
    """A query in the terms of the storage and of the model."""

    #: What is embedded; empty where nothing but conditions is asked for.
    text: str
    words: WordQuery
    #: What has to hold of each entry, besides the phrases of ``words``.
    condition: Condition | None
    hints: tuple[str, ...]

    def filters(self, given: Filters, *, phrases: bool) -> Filters:
        """Filters with this condition; the phrases in it where words are not looked for."""
        parts = [
            *([] if self.condition is None else [self.condition]),
            *(map(Terms, self.words.phrases) if phrases else ()),
            *([] if given.condition is None else [given.condition]),
        ]
        if not parts:
            return given
        return Filters(
            kbs=given.kbs,
            types=given.types,
            tags=given.tags,
            since=given.since,
            until=given.until,
            fields=given.fields,
            paths=given.paths,
            condition=AllOf(tuple(parts)),
        )


def read(query: str) -> tuple[Node, list[str]]:
    """The tree of a query, and hints.

    Raises:
        InvalidQueryError: there is more of something in it than can be looked for.
    """
    parsed = parse(query)
    tree, hints = parsed.tree, list(parsed.hints)
    parts = tree.parts if isinstance(tree, Loose) else (tree,)
    found = (
        leaf for part in parts if not isinstance(part, Word) for leaf in leaves(part, excluded=True)
    )
    operands = list(dict.fromkeys(found))
    if len(operands) > MOST_OPERANDS:
        raise InvalidQueryError(
            f"the query has {len(operands):,} phrases, fields and operators in all, more than "
            f"{MOST_OPERANDS}",
            field="q",
        )
    for leaf in operands:
        value = leaf.value if isinstance(leaf, Field) else leaf
        words = len(value.text.split())
        if words > MOST_WORDS_OF_A_PHRASE:
            raise InvalidQueryError(
                f"a phrase has {words:,} words, more than {MOST_WORDS_OF_A_PHRASE}; without its "
                "quotation marks a text may be longer",
                field="q",
            )
        if isinstance(leaf, Field) and len(value.text) > MOST_CHARACTERS_OF_A_VALUE:
            raise InvalidQueryError(
                f"the value of {leaf.name}: has {len(value.text):,} characters, more than "
                f"{MOST_CHARACTERS_OF_A_VALUE:,}",
                field="q",
            )
    return tree, hints


def understand(query: str, tree: Node, hints: list[str]) -> Understood:
    """What a tree asks for.

    Args:
        query: the text that it was read from.
        tree: it, of which every field is known.
        hints: what was noticed so far.
    """
    parts = tree.parts if isinstance(tree, Loose) else (tree,)
    free = [part.text for part in parts if isinstance(part, Word)]
    phrases = [part.text for part in parts if isinstance(part, Phrase)]
    # Each is one phrase, whatever marks stand in it.
    quoted = tuple(dict.fromkeys(text for phrase in phrases if (text := _terms(phrase))))
    others = [part for part in parts if not isinstance(part, (Word, Phrase))]
    # With a phrase beside them, words that say nothing are not looked for alone.
    beside = f'"{phrases[0]}"' if phrases else ""
    scored: list[str | Terms] = [*words_of(" ".join([*free, beside])).words]
    for part in others:
        scored += _scored(part)
    held = [
        found
        for part in others
        if not isinstance(part, Prefix) and (found := _condition(part)) is not None
    ]
    if all(isinstance(part, (Word, Phrase)) for part in parts):
        text = query
    else:
        text = " ".join(_said(leaf) for leaf in leaves(tree) if _said(leaf))
    return Understood(
        text, WordQuery(tuple(scored), quoted), AllOf(tuple(held)) if held else None, tuple(hints)
    )


def filters_of(field: Field) -> Filters:
    """The filters that a field stands for.

    Raises:
        InvalidQueryError: the value is none for it.
    """
    name, value = field.name, field.value
    text = f"{value.text}*" if isinstance(value, Prefix) else value.text
    match name:
        case "tag":
            found = Filters(tags=(text.lstrip("#"),))
        case "type":
            found = Filters(types=(text,))
        case "kb":
            found = Filters(kbs=(text,))
        case "path":
            found = Filters(paths=(text,))
        case "since":
            found = Filters(since=text)
        case "until":
            found = Filters(until=text)
        case "date":
            first, dots, last = text.partition("..")
            found = Filters(since=first or None, until=(last if dots else first) or None)
        case _:
            found = Filters(fields={name: text})
    check_filters(found)
    return found


def _terms(text: str) -> str:
    """The words of a text as they are looked for; empty where it has none."""
    return " ".join(words_of(f'"{text}"').phrases)


def _leaf_terms(leaf: Leaf, column: str | None = None) -> Terms | None:
    text = _terms(leaf.text)
    return Terms(text, isinstance(leaf, Prefix), column) if text else None


def _condition(node: Node) -> Condition | None:
    """The condition that a part of a tree is; None where it says nothing."""
    match node:
        case Word() | Phrase() | Prefix():
            return _leaf_terms(node)
        case Field(name, value):
            return _leaf_terms(value, PARTS[name]) if name in PARTS else filters_of(node)
        case Exclude(part):
            found = _condition(part)
            return None if found is None else Not(found)
        case Both(parts) | Either(parts) | Loose(parts):
            held = tuple(found for part in parts if (found := _condition(part)) is not None)
            if not held:
                return None
            return AnyOf(held) if isinstance(node, Either) else AllOf(held)


def _scored(node: Node) -> list[Terms]:
    """The terms that count for the rank of what a part of a tree finds."""
    found = [
        _leaf_terms(leaf.value, PARTS[leaf.name]) if isinstance(leaf, Field) else _leaf_terms(leaf)
        for leaf in leaves(node)
        if not isinstance(leaf, Field) or leaf.name in PARTS
    ]
    return [terms for terms in found if terms is not None]


def _said(leaf: Word | Prefix | Phrase | Field) -> str:
    """What a leaf says to a model."""
    if isinstance(leaf, Field):
        return leaf.value.text if leaf.name in PARTS else ""
    return leaf.text


def is_of_front_matter(field: Field) -> bool:
    """Whether a field has no meaning of its own, and may be no field at all."""
    return field.name not in PARTS and field.name not in FILTERS.values()

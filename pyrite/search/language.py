"""The language of queries: a text as a tree of words and operators, and the tree as a text.

Words side by side rank what is found: the more of them, the better. All else has to hold: a
phrase, an excluded word, a field, and whatever is joined by AND or OR, of which AND (or merely
standing side by side) binds tighter. Reading never fails: what is no query is words, and a hint
says so. What is printed of a tree reads back as that tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pyrite.search.tokens import Kind, Token, hint_of_stars, plain_words, tokens

#: In a longer query, operators are punctuation of a text, not those of a person who asks.
MOST_WORDS_AROUND_OPERATORS = 16

#: How deep parentheses and NOT may be nested.
MOST_DEPTH = 30

#: The fields that are filters, by all their names; any other name is that of a field of the
#: front matter.
FILTERS = {
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("type", "types"), "type"),
    "kb": "kb",
    **dict.fromkeys(("path", "file", "folder"), "path"),
    **dict.fromkeys(("since", "after"), "since"),
    **dict.fromkeys(("until", "before"), "until"),
    "date": "date",
}

#: The fields that confine words to a part of an entry.
PARTS = {"title": "title", "summary": "summary", "body": "body", "text": "body"}


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is typed."""

    text: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a word, typed with a star."""

    text: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text in quotation marks."""

    text: str


Leaf: TypeAlias = Word | Prefix | Phrase


@dataclass(frozen=True, slots=True)
class Field:
    """A value that a field has, or a word in a part of an entry."""

    name: str
    value: Leaf


@dataclass(frozen=True, slots=True)
class Exclude:
    """What must not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class Either:
    """Parts of which one has to hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Both:
    """Parts that all have to hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Loose:
    """Words side by side, and what has to hold besides; only at the root of a tree."""

    parts: tuple[Node, ...]


Node: TypeAlias = Word | Prefix | Phrase | Field | Exclude | Either | Both | Loose


@dataclass(frozen=True, slots=True)
class Parsed:
    """A query that was read."""

    tree: Node
    #: What was not read as it may have been meant.
    hints: tuple[str, ...] = ()


def parse(text: str) -> Parsed:
    """Read a query."""
    parser = _Parser(list(tokens(text)))
    try:
        tree = _loose(parser.either(0))
    except RecursionError:
        return Parsed(
            _paragraph(text),
            (f"parentheses deeper than {MOST_DEPTH} are not read: searched as plain words",),
        )
    hints = [*parser.hints, *hint_of_stars(text)]
    free = [part for part in tree.parts if isinstance(part, Word)]
    if len(free) > MOST_WORDS_AROUND_OPERATORS:
        plain = _paragraph(text)
        note = f"a text of more than {MOST_WORDS_AROUND_OPERATORS} words is searched as plain words"
        used = len(tree.parts) != len(free) or parser.hints
        return Parsed(plain, (note,) if used and plain != tree else ())
    return Parsed(tree.parts[0] if len(tree.parts) == 1 else tree, tuple(dict.fromkeys(hints)))


def _paragraph(text: str) -> Node:
    """A text as words, and the filters that stand in it."""
    parts: list[Node] = []
    for token in plain_words(text, FILTERS):
        word: Node = Word(token.text)
        if token.kind is Kind.FIELD:
            name, value = token.text.split(":", 1)
            word = Field(FILTERS[name.lower()], Word(value))
        parts.append(word)
    return Loose(tuple(parts))


def print_query(tree: Node) -> str:
    """Write a tree as the query that reads back as it."""
    match tree:
        case Loose(parts):
            return " ".join(map(_inner, parts))
        case Both(parts):
            return " AND ".join(map(_inner, parts))
        case Either(parts):
            return " OR ".join(
                print_query(part) if isinstance(part, Both) else _inner(part) for part in parts
            )
        case _:
            return _inner(tree)


def _inner(node: Node) -> str:
    """A node where others stand beside it."""
    match node:
        case Word(text):
            return text
        case Prefix(text):
            return f"{text}*"
        case Phrase(text):
            return f'"{text}"'
        case Field(name, value):
            return f"{name}:{_inner(value)}"
        case Exclude(part):
            inner = _inner(part)
            return f"-{inner}" if inner[0].isalnum() or inner[0] in '("' else f"NOT {inner}"
        case _:
            return f"({print_query(node)})"


def leaves(node: Node, *, excluded: bool = False) -> Iterator[Word | Prefix | Phrase | Field]:
    """The leaves of a tree from the left; those that must not hold only if wanted."""
    match node:
        case Loose(parts) | Both(parts) | Either(parts):
            for part in parts:
                yield from leaves(part, excluded=excluded)
        case Exclude(part):
            if excluded:
                yield from leaves(part, excluded=True)
        case _:
            yield node


def replaced(node: Node, new: Callable[[Word | Prefix | Phrase | Field], Node]) -> Node:
    """The tree with other leaves."""
    match node:
        case Loose(parts):
            return Loose(tuple(replaced(part, new) for part in parts))
        case Both(parts):
            return Both(tuple(replaced(part, new) for part in parts))
        case Either(parts):
            return Either(tuple(replaced(part, new) for part in parts))
        case Exclude(part):
            return Exclude(replaced(part, new))
        case _:
            return new(node)


class _Parser:
    """A recursive-descent parser over tokens, which never goes deeper than is allowed."""

    def __init__(self, given: list[Token]) -> None:
        self._tokens = given
        self._place = 0
        self.hints: list[str] = []

    def _next(self) -> Kind | None:
        return self._tokens[self._place].kind if self._place < len(self._tokens) else None

    def _take(self) -> Token:
        self._place += 1
        return self._tokens[self._place - 1]

    def either(self, depth: int) -> Node | None:
        """Parts with OR between them."""
        if depth > MOST_DEPTH:
            raise RecursionError
        branches = [self._side_by_side(depth)]
        while self._next() is Kind.OR:
            self._take()
            branches.append(self._side_by_side(depth))
        found = [branch for branch in branches if branch is not None]
        if len(found) < len(branches) > 1:
            self._hint("OR stands between two words; it was left out")
        if len(found) < 2:  # noqa: PLR2004 - OR joins two
            return found[0] if found else None
        strict = [_strict(branch) for branch in found]
        parts = [p for b in strict for p in (b.parts if isinstance(b, Either) else (b,))]
        return Either(tuple(parts))

    def _side_by_side(self, depth: int) -> Node | None:
        items: list[Node] = []
        joined, dangling = False, False
        while (kind := self._next()) not in {None, Kind.OR}:
            if kind is Kind.CLOSE:
                if depth:
                    break
                self._take()
                self._hint("a parenthesis that nothing opens was left out")
            elif kind is Kind.AND:
                self._take()
                joined, dangling = joined or bool(items), True
                if not items:
                    self._hint("AND stands between two words; it was left out")
            else:
                item = self._item(depth)
                if item is not None:
                    items.append(item)
                    dangling = False
        if dangling and items:
            self._hint("AND stands between two words; it was left out")
        if len(items) < 2:  # noqa: PLR2004 - AND joins two
            return items[0] if items else None
        return _joined(items, strict=joined)

    def _item(self, depth: int) -> Node | None:
        """What NOT may stand before."""
        negated, signs = False, 0
        while self._next() in {Kind.NOT, Kind.MINUS}:
            self._take()
            negated, signs = not negated, signs + 1
        atom = self._atom(depth)
        if atom is None:
            if signs:
                self._hint("NOT stands before a word; it was left out")
            return None
        atom = _strict(atom) if signs else atom
        if not negated:
            return atom
        return atom.part if isinstance(atom, Exclude) else Exclude(atom)

    def _atom(self, depth: int) -> Node | None:
        match self._next():
            case Kind.OPEN:
                return self._group(depth)
            case Kind.FIELD:
                name = self._take().text
                lower = name.lower()
                known = FILTERS.get(lower) or PARTS.get(lower) or name
                value = self._atom(depth) if self._next() is not None else None
                return None if value is None else _in_field(_strict(value), known)
            case Kind.WORD:
                return Word(self._take().text)
            case Kind.PREFIX:
                return Prefix(self._take().text)
            case Kind.PHRASE:
                return Phrase(self._take().text)
            case Kind.UNCLOSED:
                self._take()
                self._hint("a quotation mark that nothing closes was left out")
                return None
            case _:
                return None

    def _group(self, depth: int) -> Node | None:
        self._take()
        found = self.either(depth + 1)
        if self._next() is Kind.CLOSE:
            self._take()
        else:
            self._hint("a parenthesis that nothing closes was left out")
        return found

    def _hint(self, text: str) -> None:
        self.hints.append(text)


def _loose(tree: Node | None) -> Loose:
    if tree is None:
        return Loose(())
    return tree if isinstance(tree, Loose) else Loose((tree,))


def _strict(node: Node) -> Node:
    """A node within an operator: words side by side all have to be there."""
    return _joined(node.parts, strict=True) if isinstance(node, Loose) else node


def _joined(items: list[Node] | tuple[Node, ...], *, strict: bool) -> Node:
    """Items side by side, or with AND between them."""
    if strict:
        inner = [_strict(item) for item in items]
        return Both(tuple(p for i in inner for p in (i.parts if isinstance(i, Both) else (i,))))
    return Loose(tuple(p for i in items for p in (i.parts if isinstance(i, Loose) else (i,))))


def _in_field(node: Node, name: str) -> Node:
    return replaced(node, lambda leaf: leaf if isinstance(leaf, Field) else Field(name, leaf))

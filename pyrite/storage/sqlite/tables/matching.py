"""FTS5's query language: what is looked for by words, as an expression for MATCH.

Every term is quoted, so that none can be an operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyrite.storage.records import AllOf, AnyOf, Condition, Terms, WordQuery


def expression(query: WordQuery) -> str:
    """The expression that is true of every entry with what is looked for."""
    phrases = _joined(" AND ", query.phrases)
    if not phrases:
        return _joined(" OR ", query.words)
    # The words are not required, but they count: each phrase is among the alternatives, which
    # are therefore always met.
    return f"{phrases} AND ({_joined(' OR ', (*query.phrases, *query.words))})"


def of_condition(condition: Condition) -> str | None:
    """A condition about words alone as an expression; None for any other.

    FTS5 has no expression for what merely does not contain a word.
    """
    match condition:
        case Terms():
            return _terms(condition)
        case AllOf(parts) | AnyOf(parts) if parts:
            found = [of_condition(part) for part in parts]
            operator = " AND " if isinstance(condition, AllOf) else " OR "
            return None if None in found else f"({operator.join(filter(None, found))})"
        case _:
            return None


def _joined(operator: str, terms: Sequence[str | Terms]) -> str:
    return operator.join(map(_terms, terms))


def _terms(terms: str | Terms) -> str:
    if isinstance(terms, str):
        return _quoted(terms)
    column = "" if terms.column is None else f"{_quoted(terms.column)} : "
    return f"{column}{_quoted(terms.text)}{' *' if terms.prefix else ''}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').replace("\0", " ") + '"'

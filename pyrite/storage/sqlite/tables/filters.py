"""SQL for filters: the condition that confines a query to such entries, and its values."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from pyrite.storage.records import AllOf, AnyOf, Condition, Filters, Not, Terms
from pyrite.storage.sqlite.tables.matching import of_condition

# A front-matter value as text: what is no string, as JSON spells it. SQLite's own spelling of
# a number differs where that is large or small.
_IS = """{row}.type NOT IN ('array', 'object')
         AND iif({row}.type = 'text', {row}.value, {within} -> {row}.fullkey) = ?"""
_HAS_FIELD = f"""
    EXISTS (SELECT 1 FROM json_each(e.fields) f WHERE f.key = ? AND (
        {_IS.format(row="f", within="e.fields")}
        OR f.type = 'array' AND EXISTS (
            SELECT 1 FROM json_each(f.value) item
            WHERE {_IS.format(row="item", within="f.value")})))
"""
_HAS_TAG = "EXISTS (SELECT 1 FROM json_each(e.tags) WHERE value = ?)"
# SQLite's function also takes numbers, times of day and "now", and the 30th of February for the
# 1st of March; what it gives back unchanged is a day.
_WRITTEN = "substr(e.fields ->> '$.date', 1, 10)"
_DAY = f"iif(date({_WRITTEN}) = {_WRITTEN}, {_WRITTEN}, date(e.updated_at, 'unixepoch'))"

_HAS_WORDS = "e.id IN (SELECT rowid FROM entry_words WHERE entry_words MATCH ?)"
_LIKE_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\%_"})


def condition(filters: Filters) -> tuple[str, list[object]]:
    """What to put after WHERE, about a row ``e`` of the entries, and the values to bind."""
    parts: list[str] = []
    values: list[object] = []

    def add(part: str, *bound: object) -> None:
        parts.append(part)
        values.extend(bound)

    if filters.kbs:
        add(f"e.kb_name IN ({_marks(filters.kbs)})", *filters.kbs)
    if filters.types:
        add(f"e.type IN ({_marks(filters.types)})", *filters.types)
    for tag in filters.tags:
        add(_HAS_TAG, tag)
    if filters.since is not None:
        add(f"{_DAY} >= ?", filters.since)
    if filters.until is not None:
        add(f"{_DAY} <= ?", filters.until)
    for name, value in filters.fields.items():
        add(_HAS_FIELD, name, value, value)
    for text in filters.paths:
        add(*_in_path(text))
    if filters.condition is not None:
        part, bound = _holds(filters.condition)
        add(part, *bound)
    return " AND ".join(f"({part})" for part in parts) or "TRUE", values


def split(filters: Filters) -> tuple[str | None, Filters]:
    """What of the filters FTS5 can look for, as an expression for MATCH, and the other filters."""
    wanted = filters.condition
    parts = wanted.parts if isinstance(wanted, AllOf) else () if wanted is None else (wanted,)
    found = [(part, of_condition(part)) for part in parts]
    words = " AND ".join(words for _, words in found if words is not None)
    others = tuple(part for part, words in found if words is None)
    return words or None, replace(filters, condition=AllOf(others) if others else None)


def _holds(wanted: Condition) -> tuple[str, list[object]]:
    """The SQL of a condition, and the values to bind."""
    words = of_condition(wanted)
    if words is not None:
        return _HAS_WORDS, [words]
    match wanted:
        case Filters():
            return condition(wanted)
        case Not(part):
            sql, values = _holds(part)
            # A field that is not there is not equal to anything: what is unknown does not hold.
            return f"({sql}) IS NOT TRUE", values
        case AllOf(parts) | AnyOf(parts):
            held = [_holds(part) for part in parts]
            everything = isinstance(wanted, AllOf)
            sql = (" AND " if everything else " OR ").join(f"({part})" for part, _ in held)
            return sql or str(everything).upper(), [value for _, part in held for value in part]
        case Terms():
            raise AssertionError("terms are an expression of their own")


def _in_path(text: str) -> tuple[str, ...]:
    """The SQL for a text within a path, and its values."""
    spelled = {text}
    if not text.isascii():
        # SQLite knows capitals of ASCII alone, and a file's name may be in either normal form.
        spelled = {
            unicodedata.normalize(form, spelling)
            for spelling in (text, text.lower(), text.upper(), text.title())
            for form in ("NFC", "NFD")
        }
    likes = [f"%{each.translate(_LIKE_SIGNS).replace('*', '%')}%" for each in sorted(spelled)]
    return " OR ".join([r"e.path LIKE ? ESCAPE '\'"] * len(likes)), *likes


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))

"""SQL for filters: the condition that confines a query to such entries, and its values."""

from __future__ import annotations

from collections.abc import Sequence

from pyrite.storage.records import Filters

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
    return " AND ".join(f"({part})" for part in parts) or "TRUE", values


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))

"""The check of filters: days that exist, fields without a filter of their own, valid text."""

from __future__ import annotations

from datetime import date

from pyrite.errors import InvalidQueryError
from pyrite.markdown.entry import OWN_FIELDS
from pyrite.storage.records import Filters

#: Values of one filter.
MOST_VALUES = 100


def check_filters(filters: Filters) -> None:
    """Refuse days that do not exist, fields with a filter of their own, and text that is not valid.

    Raises:
        InvalidQueryError: the message says what to write instead.
    """
    for name, given in (
        *(("kb", filters.kbs), ("type", filters.types)),
        *(("tag", filters.tags), ("field", filters.fields)),
    ):
        if len(given) > MOST_VALUES:
            raise InvalidQueryError(
                f"{len(given):,} values of {name}, more than {MOST_VALUES}", field=name
            )
    for name in sorted(OWN_FIELDS & filters.fields.keys()):
        raise InvalidQueryError(
            f"{name!r} is not among the fields to filter by: types and tags have filters of "
            "their own, and words of titles and summaries are searched for",
            field="field",
        )
    for name, day in (("since", filters.since), ("until", filters.until)):
        if day is not None and not _is_day(day):
            raise InvalidQueryError(
                f"{name} must be a day like 2026-11-30, not {day!r}", field=name
            )
    if filters.since is not None and filters.until is not None and filters.since > filters.until:
        raise InvalidQueryError(
            f"since, {filters.since}, is after until, {filters.until}: no day lies between",
            field="since",
        )
    for text in (*filters.types, *filters.tags, *filters.fields, *filters.fields.values()):
        check_text(f"the filter {text!a}", text)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def check_text(what: str, text: str) -> None:
    """Refuse lone surrogates, which come of bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidQueryError(f"{what} is not valid text: {error.reason}") from error

"""The parameters that tools have in common, with their bounds and what they mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, SkipValidation

from pyrite.search.query import MOST_HITS, MOST_QUERY_CHARACTERS
from pyrite.storage.records import Filters

#: The longest text that is taken for an id, a name or a value to filter by.
_LINE = 1000

#: The longest part of a body that is given in one answer, and how much of it without asking.
MOST_CHARACTERS = 200_000
USUAL_CHARACTERS = 20_000

#: No larger number can name a revision.
_MOST = 2**53

KB = Annotated[
    str | None,
    Field(
        max_length=_LINE,
        description="The knowledge base; may be left out where there is only one.",
    ),
]
OnlyKB = Annotated[str | None, Field(max_length=_LINE, description="Only of this knowledge base.")]
SomeKBs = Annotated[
    Annotated[str, Field(max_length=_LINE)] | Annotated[list[str], Field(max_length=100)] | None,
    Field(description="Only of this knowledge base, or of these."),
]
OnlyKBs = Annotated[
    list[str] | None, Field(max_length=100, description="Only entries of these knowledge bases.")
]
Id = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_LINE,
        description="The entry's id: its path in the folder without `.md`, such as ops/backups.",
    ),
]
SomeId = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=_LINE,
        description="The entry's id; without it, what is asked for is that of all entries.",
    ),
]
Query = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_QUERY_CHARACTERS,
        description='A question or a few words; a "quoted phrase" is looked for as it stands.',
    ),
]
Mode = Annotated[
    Literal["hybrid", "semantic", "keyword"],
    Field(description="By meaning (semantic), by words (keyword), or both."),
]
OnlyType = Annotated[str | None, Field(max_length=_LINE, description="Only entries of this type.")]
OnlyTags = Annotated[
    list[str] | None, Field(max_length=100, description="Only entries with all of these tags.")
]
Since = Annotated[
    str | None, Field(max_length=_LINE, description="Only of this day (YYYY-MM-DD) or later.")
]
Until = Annotated[
    str | None, Field(max_length=_LINE, description="Only of this day (YYYY-MM-DD) or earlier.")
]
OnlyFields = Annotated[
    dict[str, str] | None,
    Field(description="Only with these values in front-matter fields, or in lists there."),
]
Limit = Annotated[int, Field(ge=1, le=100, description="At most so many.")]
Offset = Annotated[
    int, Field(ge=0, le=MOST_HITS - 1, description="Skip so many first, for the next page.")
]
AnyOffset = Annotated[
    int, Field(ge=0, le=_MOST, description="Skip so many first, for the next page.")
]
WaitFor = Annotated[
    int | None,
    Field(
        ge=0,
        le=_MOST,
        description="A revision that a write returned: wait until it can be found by meaning.",
    ),
]
Timeout = Annotated[float, Field(ge=0, le=60, description="How long to wait for it, in seconds.")]
IfRevision = Annotated[
    int | None,
    Field(
        ge=0,
        le=_MOST,
        description="The revision you have read: refuse if somebody has changed it since.",
    ),
]
Summary = Annotated[str | None, Field(description="One or two sentences.")]
Fields = Annotated[
    dict[str, SkipValidation[JsonValue]] | None,  # which is slow, and they are JSON already
    Field(description="Other fields of the front matter, by name."),
]
Start = Annotated[
    int, Field(ge=0, le=_MOST, description="Where to begin in the body, in characters.")
]
Characters = Annotated[
    int, Field(ge=1, le=MOST_CHARACTERS, description="How much of the body to give, at most.")
]
Heading = Annotated[
    str | None,
    Field(max_length=_LINE, description="Only the section under the heading of this title."),
]


def filters(
    kbs: list[str] | None = None,
    type: str | None = None,  # noqa: A002 - it is what the parameter is called
    tags: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    fields: dict[str, str] | None = None,
) -> Filters:
    """The filters as the services know them."""
    return Filters(
        kbs=tuple(kbs or ()),
        types=() if type is None else (type,),
        tags=tuple(tags or ()),
        since=since,
        until=until,
        fields=fields or {},
    )

"""What clients send: bodies and parameters, strict and without room for anything else.

Each set is defined once. A query string spells a few names differently (:data:`IN_QUERY`); what
MCP's tools take besides, or within narrower bounds, is in :mod:`pyrite.api.tool_parameters`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from pyrite.api.base import JSON
from pyrite.markdown.entry import DEFAULT_TYPE
from pyrite.search.query import MOST_HITS, MOST_QUERY_CHARACTERS, Mode, SearchRequest
from pyrite.storage.records import Filters
from pyrite.vault.entry_files import Draft

#: What a query string calls a parameter: a list is a name given several times, an object a name
#: given with NAME=VALUE.
IN_QUERY = {"query": "q", "tags": "tag", "fields": "field", "kbs": "kb"}

#: Entries of one request.
MOST_AT_ONCE = 1000

#: How long a search may wait for a write, in seconds.
MOST_WAIT_S = 60

#: Values of one filter.
MOST_VALUES = 100

#: Larger than any number that the database has.
MOST = 2**53

#: What may stand in a text: what YAML can hold as it is.
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]*$"

Text = Annotated[str, Meta(pattern=_TEXT)]
Fields = dict[str, JSON]
NewFolder = Annotated[
    str,
    Meta(
        min_length=1,
        description="The folder on the server, absolute. Without it, one is made in its home.",
        examples=["/srv/notes"],
    ),
]
NewId = Annotated[
    str,
    Meta(
        description="Its path in the folder, without `.md`; folders in it are made. Without one "
        "it is made from the title.",
        examples=["ops/backups"],
    ),
]
Summary = Annotated[
    Text, Meta(description="One or two sentences.", examples=["How long we keep copies"])
]
NewTitle = Annotated[Text, Meta(description="A new title.")]
NewType = Annotated[Text, Meta(description="A new type.")]
NewTags = Annotated[list[Text], Meta(description="All tags it is to have.")]
NewBody = Annotated[Text, Meta(description="A new text, in place of the whole present one.")]
NewFields = Annotated[
    Fields,
    Meta(
        description="Front-matter fields to set, and with null those to remove.",
        examples=[{"owner": "Sam", "reviewed": None}],
    ),
]
OnlyKB = Annotated[str, Meta(description="Only of this knowledge base.", examples=["notes"])]
Since = Annotated[
    str,
    Meta(
        description="Only of this day (YYYY-MM-DD) or later.",
        examples=["2026-11-01"],
        extra_json_schema={"format": "date"},
    ),
]
Until = Annotated[
    str,
    Meta(
        description="Only of this day (YYYY-MM-DD) or earlier.",
        examples=["2026-11-30"],
        extra_json_schema={"format": "date"},
    ),
]
FailedIds = Annotated[
    list[str],
    Meta(
        min_length=1,
        max_length=MOST_AT_ONCE,
        description="Only these entries, all of which have failed.",
        examples=[["ops/backups"]],
    ),
]
Limit = Annotated[int, Meta(ge=1, le=MOST_HITS, description="At most so many.")]
Offset = Annotated[int, Meta(ge=0, le=MOST, description="Skip so many first, for the next page.")]


WaitFor = Annotated[
    int,
    Meta(
        ge=0,
        le=MOST,
        description="A revision that a write returned: wait until it can be found by meaning.",
    ),
]


class Parameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client sends."""


class NewKB(Parameters, kw_only=True):
    """A folder to be registered as a knowledge base."""

    name: Annotated[
        str,
        Meta(
            description="Its name, without slashes and without a dot in front.", examples=["notes"]
        ),
    ]
    path: NewFolder | None = None


class EntryText(Parameters, kw_only=True):
    """What an entry is to say."""

    title: Annotated[
        Text,
        Meta(
            description="Its title. Without one, it is the first heading of the body, or made "
            "from the id.",
            examples=["Backups"],
        ),
    ] = ""
    type: Annotated[Text, Meta(description="What kind of entry it is.", examples=["note"])] = (
        DEFAULT_TYPE
    )
    summary: Summary = ""
    tags: Annotated[list[Text], Meta(description="Its tags.", examples=[["ops"]])] = []
    body: Annotated[
        Text,
        Meta(
            description="The text, in Markdown. It ends in a line feed.",
            examples=["We keep copies for thirty days.\n"],
        ),
    ] = ""
    fields: Annotated[
        Fields,
        Meta(description="Other fields of the front matter, by name.", examples=[{"owner": "Kim"}]),
    ] = {}

    def draft(self, entry_id: str | None = None) -> Draft:
        """The entry as the services know it."""
        return Draft(
            title=self.title,
            id=entry_id,
            type=self.type,
            summary=self.summary,
            tags=tuple(self.tags),
            body=self.body,
            fields=self.fields,
        )


class NewEntry(EntryText, kw_only=True):
    """An entry to be created; it needs an `id`, or a `title` to make one from."""

    id: NewId | None = None


class NewEntries(Parameters, kw_only=True):
    """Entries to be created together."""

    entries: Annotated[list[NewEntry], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class EntryPatch(Parameters, kw_only=True):
    """What to change of an entry: a JSON merge patch (RFC 7396), in which null removes."""

    title: NewTitle | UnsetType | None = UNSET
    type: NewType | UnsetType | None = UNSET
    summary: Summary | UnsetType | None = UNSET
    tags: NewTags | UnsetType | None = UNSET
    body: NewBody | UnsetType | None = UNSET
    fields: NewFields | UnsetType | None = UNSET


class SyncOrder(Parameters, kw_only=True):
    """What to bring in step with its folder."""

    kb: OnlyKB | None = None
    full: Annotated[
        bool, Meta(description="Read every file, even those whose date has not moved.")
    ] = False


class RetryOrder(Parameters, kw_only=True):
    """Which failed entries to queue again."""

    kb: OnlyKB | None = None
    ids: FailedIds | None = None


class Narrowing(Parameters, kw_only=True):
    """Which entries are meant."""

    type: Annotated[
        list[str],
        Meta(max_length=MOST_VALUES, description="Only of this type, or one of these."),
    ] = []
    tags: Annotated[
        list[str],
        Meta(max_length=MOST_VALUES, description="Only entries with all of these tags."),
    ] = []
    since: Since | None = None
    until: Until | None = None
    fields: Annotated[
        dict[str, str],
        Meta(
            description="Only with these values in front-matter fields, or in lists there.",
            examples=[{"owner": "Kim"}],
        ),
    ] = {}

    def filters(self, kbs: Iterable[str] = ()) -> Filters:
        """The filters as the services know them."""
        # A tool takes one type, or none.
        types = (self.type,) if isinstance(self.type, str) else tuple(self.type or ())
        return Filters(tuple(kbs), types, tuple(self.tags), self.since, self.until, self.fields)


class PageParameters(Parameters, kw_only=True):
    """Which part of a list."""

    limit: Limit = 100
    offset: Offset = 0


class ListParameters(Narrowing, kw_only=True):
    """Which entries to list."""

    limit: Limit = 100
    offset: Offset = 0


class KBParameter(Parameters, kw_only=True):
    """One knowledge base, or all."""

    kb: OnlyKB | None = None


class FailureParameters(KBParameter, kw_only=True):
    """Which failures to list."""

    limit: Limit = 100


class RelatedParameters(Narrowing, kw_only=True):
    """Among which entries to look."""

    kbs: Annotated[
        list[str],
        Meta(max_length=MOST_VALUES, description="Only entries of these knowledge bases."),
    ] = []
    limit: Limit = 10


class SearchParameters(Narrowing, kw_only=True):
    """What to search for, and where."""

    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MOST_QUERY_CHARACTERS,
            description='A question or a few words; a "quoted phrase" is looked for as it stands.',
            examples=["how long do we keep backups?"],
        ),
    ]
    mode: Annotated[
        Mode, Meta(description="By meaning (semantic), by words (keyword), or both.")
    ] = Mode.HYBRID
    kb: Annotated[
        list[str],
        Meta(max_length=MOST_VALUES, description="Only of this knowledge base, or of these."),
    ] = []
    limit: Limit = 10
    offset: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_HITS - 1,
            description="Skip so many first, for the next page.",
        ),
    ] = 0
    wait_for: WaitFor | UnsetType = UNSET
    timeout: Annotated[
        float, Meta(ge=0, le=MOST_WAIT_S, description="How long to wait for it, in seconds.")
    ] = 10.0

    def request(self, kbs: Iterable[str]) -> SearchRequest:
        """What is asked for, of some knowledge bases or, without one, of all.

        Raises:
            InvalidQueryError: it cannot be answered; the message says what to change.
        """
        request = SearchRequest(
            query=self.query,
            mode=self.mode,
            filters=self.filters(kbs),
            limit=self.limit,
            offset=self.offset,
            wait_for=None if self.wait_for is UNSET else self.wait_for,
            timeout_s=self.timeout,
        )
        request.check()
        return request

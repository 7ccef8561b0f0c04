"""What clients send: bodies and parameters, strict and without room for anything else.

Each set is defined once. A query string spells a few names differently (:data:`IN_QUERY`); what
MCP's tools take besides, or within narrower bounds, is in :mod:`pyrite.api.tool_parameters`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from pyrite.api.base import JSON, doc
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
    doc(
        "The folder on the server, absolute. Without it, one is made in its home.",
        "/srv/notes",
        min_length=1,
    ),
]
NewId = Annotated[
    str,
    doc(
        "Its path in the folder, without `.md`; folders in it are made. Without one "
        "it is made from the title.",
        "ops/backups",
    ),
]
Summary = Annotated[Text, doc("One or two sentences.", "How long we keep copies")]
NewTitle = Annotated[Text, doc("A new title.")]
NewType = Annotated[Text, doc("A new type.")]
NewTags = Annotated[list[Text], doc("All tags it is to have.")]
NewBody = Annotated[Text, doc("A new text, in place of the whole present one.")]
NewFields = Annotated[
    Fields,
    doc(
        "Front-matter fields to set, and with null those to remove.",
        {"owner": "Sam", "reviewed": None},
    ),
]
OnlyKB = Annotated[str, doc("Only of this knowledge base.", "notes")]
Since = Annotated[
    str,
    doc(
        "Only of this day (YYYY-MM-DD) or later.",
        "2026-11-01",
        extra_json_schema={"format": "date"},
    ),
]
Until = Annotated[
    str,
    doc(
        "Only of this day (YYYY-MM-DD) or earlier.",
        "2026-11-30",
        extra_json_schema={"format": "date"},
    ),
]
FailedIds = Annotated[
    list[str],
    doc(
        "Only these entries, all of which have failed.",
        ["ops/backups"],
        min_length=1,
        max_length=MOST_AT_ONCE,
    ),
]
Limit = Annotated[int, doc("At most so many.", ge=1, le=MOST_HITS)]
Offset = Annotated[int, doc("Skip so many first, for the next page.", ge=0, le=MOST)]


WaitFor = Annotated[
    int,
    doc("A revision that a write returned: wait until it can be found by meaning.", ge=0, le=MOST),
]


class Parameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a client sends."""


class NewKB(Parameters, kw_only=True):
    """A folder to be registered as a knowledge base."""

    name: Annotated[str, doc("Its name, without slashes and without a dot in front.", "notes")]
    path: NewFolder | None = None


class EntryText(Parameters, kw_only=True):
    """What an entry is to say."""

    title: Annotated[
        Text,
        doc(
            "Its title. Without one, it is the first heading of the body, or made from the id.",
            "Backups",
        ),
    ] = ""
    type: Annotated[Text, doc("What kind of entry it is.", "note")] = DEFAULT_TYPE
    summary: Summary = ""
    tags: Annotated[list[Text], doc("Its tags.", ["ops"])] = []
    body: Annotated[
        Text,
        doc("The text, in Markdown. It ends in a line feed.", "We keep copies for thirty days.\n"),
    ] = ""
    fields: Annotated[
        Fields, doc("Other fields of the front matter, by name.", {"owner": "Kim"})
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
    full: Annotated[bool, doc("Read every file, even those whose date has not moved.")] = False


class RetryOrder(Parameters, kw_only=True):
    """Which failed entries to queue again."""

    kb: OnlyKB | None = None
    ids: FailedIds | None = None


class Narrowing(Parameters, kw_only=True):
    """Which entries are meant."""

    type: Annotated[
        list[str], doc("Only of this type, or one of these.", max_length=MOST_VALUES)
    ] = []
    tags: Annotated[
        list[str], doc("Only entries with all of these tags.", max_length=MOST_VALUES)
    ] = []
    since: Since | None = None
    until: Until | None = None
    fields: Annotated[
        dict[str, str],
        doc("Only with these values in front-matter fields, or in lists there.", {"owner": "Kim"}),
    ] = {}

    def filters(self, kbs: Iterable[str] = ()) -> Filters:
        """The filters as the services know them."""
        # A tool takes one type, or none.
        given: list[str] | str | None = self.type
        types = [given] if isinstance(given, str) else given or []
        return Filters(
            tuple(kbs), tuple(types), tuple(self.tags), self.since, self.until, self.fields
        )


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
        list[str], doc("Only entries of these knowledge bases.", max_length=MOST_VALUES)
    ] = []
    limit: Limit = 10


class SearchParameters(Narrowing, kw_only=True):
    """What to search for, and where."""

    query: Annotated[
        str,
        doc(
            'A question or words. "a phrase", -word, a OR b, back*, tag:, type:, path:, title:, '
            "field:value and since: narrow it.",
            "how long do we keep backups?",
            min_length=1,
            max_length=MOST_QUERY_CHARACTERS,
        ),
    ]
    mode: Annotated[Mode, doc("By meaning (semantic), by words (keyword), or both.")] = Mode.HYBRID
    kb: Annotated[
        list[str], doc("Only of this knowledge base, or of these.", max_length=MOST_VALUES)
    ] = []
    limit: Limit = 10
    offset: Annotated[
        int, doc("Skip so many first, for the next page.", ge=0, le=MOST_HITS - 1)
    ] = 0
    wait_for: WaitFor | UnsetType = UNSET
    timeout: Annotated[float, doc("How long to wait for it, in seconds.", ge=0, le=MOST_WAIT_S)] = (
        10.0
    )

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

"""What clients send: bodies and parameters, strict and without room for anything else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, SkipValidation

from pyrite.errors import InvalidQueryError
from pyrite.markdown.entry import DEFAULT_TYPE
from pyrite.search.query import MOST_HITS, MOST_QUERY_CHARACTERS, Mode, SearchRequest
from pyrite.storage.records import Filters
from pyrite.vault.entry_files import Draft

#: Entries of one request.
MOST_AT_ONCE = 1000

#: How long a search may wait for a write, in seconds.
MOST_WAIT_S = 60.0

#: Larger than any number that the database has.
_MOST = 2**53

#: What may stand in a text: what YAML can hold as it is.
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]*$"

Text = Annotated[str, Field(pattern=_TEXT)]


def _listed(value: Any) -> Any:
    """One value of a parameter that may be given several times."""
    return [value] if isinstance(value, str) else value


Many = Annotated[list[str], BeforeValidator(_listed)]
#: Parsed from JSON they are JSON; to have each value checked again takes ten seconds for 16 MiB.
Fields = dict[str, SkipValidation[JsonValue]]


class Body(BaseModel):
    """A request's JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Parameters(BaseModel):
    """What stands behind the question mark of an address."""

    model_config = ConfigDict(extra="forbid")


class NewKB(Body):
    """A folder to be registered as a knowledge base."""

    name: str = Field(
        description="Its name, without slashes and without a dot in front.", examples=["notes"]
    )
    path: str | None = Field(
        None,
        min_length=1,
        description="The folder on the server, absolute. Without it, one is made in its home.",
        examples=["/srv/notes"],
    )


class EntryText(Body):
    """What an entry is to say."""

    title: Text = Field(
        "",
        description="Its title. Without one, it is the first heading of the body, or made from "
        "the id.",
        examples=["Backups"],
    )
    type: Text = Field(DEFAULT_TYPE, description="What kind of entry it is.", examples=["note"])
    summary: Text = Field("", description="One or two sentences.", examples=["How long we keep"])
    tags: list[Text] = Field(default_factory=list, examples=[["ops"]])
    body: Text = Field(
        "",
        description="The text, in Markdown. It ends in a line feed.",
        examples=["We keep copies for thirty days.\n"],
    )
    fields: Fields = Field(
        default_factory=dict,
        description="Any other fields of the front matter.",
        examples=[{"owner": "Kim"}],
    )

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


class NewEntry(EntryText):
    """An entry to be created; it needs an `id`, or a `title` to make one from."""

    id: str | None = Field(
        None,
        description="Its path in the folder, without the ending; folders in it are made.",
        examples=["ops/backups"],
    )


class NewEntries(Body):
    """Entries to be created together."""

    entries: list[NewEntry] = Field(min_length=1, max_length=MOST_AT_ONCE)


class EntryPatch(Body):
    """What to change of an entry: a JSON merge patch (RFC 7396), in which null removes."""

    title: Text | None = Field(None, examples=["Backups and restores"])
    type: Text | None = Field(None, examples=["howto"])
    summary: Text | None = None
    tags: list[Text] | None = Field(None, description="All tags it is to have.")
    body: Text | None = None
    fields: Fields | None = Field(
        None,
        description="Fields to set, and with null those to remove; objects are merged.",
        examples=[{"owner": "Sam", "reviewed": None}],
    )


class SyncOrder(Body):
    """What to bring in step with its folder."""

    kb: str | None = Field(None, description="Only this knowledge base.", examples=["notes"])
    full: bool = Field(False, description="Read every file, even if its date has not moved.")


class RetryOrder(Body):
    """Which failed entries to queue again."""

    kb: str | None = Field(None, description="Only of this knowledge base.", examples=["notes"])
    ids: list[str] | None = Field(
        None,
        min_length=1,
        max_length=MOST_AT_ONCE,
        description="Only these entries, all of which have failed.",
        examples=[["ops/backups"]],
    )


class Narrowing(Parameters):
    """Which entries are meant."""

    type: Many = Field(default_factory=list, description="Only of this type, or one of these.")
    tag: Many = Field(default_factory=list, description="Only with this tag; with all of several.")
    since: str | None = Field(
        None,
        description="Only of this day (YYYY-MM-DD) or later.",
        examples=["2026-11-01"],
        json_schema_extra={"format": "date"},
    )
    until: str | None = Field(
        None,
        description="Only of this day (YYYY-MM-DD) or earlier.",
        examples=["2026-11-30"],
        json_schema_extra={"format": "date"},
    )
    field: Many = Field(
        default_factory=list,
        description="Only with this value in a front-matter field or in a list there, written "
        "`NAME=VALUE`.",
        examples=[["owner=Kim"]],
        json_schema_extra={"items": {"type": "string", "pattern": "^[^=]+=."}},
    )

    def filters(self, *kbs: str) -> Filters:
        """The filters as the services know them.

        Raises:
            InvalidQueryError: `field` is not of its form.
        """
        fields: dict[str, str] = {}
        for pair in self.field:
            name, equals, value = pair.partition("=")
            if not (name and equals):
                raise InvalidQueryError(
                    f"field must be of the form NAME=VALUE, not {pair!r}", field="field"
                )
            if name in fields:
                raise InvalidQueryError(f"the field {name!r} is given twice", field="field")
            fields[name] = value
        return Filters(kbs, tuple(self.type), tuple(self.tag), self.since, self.until, fields)


class PageParameters(Parameters):
    """Which part of a list."""

    limit: int = Field(100, ge=1, le=MOST_HITS, description="So many at most.")
    offset: int = Field(0, ge=0, le=_MOST, description="How many to leave out at the beginning.")


class ListParameters(Narrowing, PageParameters):
    """Which entries to list."""


class KBParameter(Parameters):
    """One knowledge base, or all."""

    kb: str | None = Field(None, description="Only of this knowledge base.", examples=["notes"])


class FailureParameters(KBParameter):
    """Which failures to list."""

    limit: int = Field(100, ge=1, le=MOST_HITS, description="Failures at most, newest first.")


class RelatedParameters(Narrowing):
    """Among which entries to look."""

    kb: Many = Field(default_factory=list, description="Only in this knowledge base, or in these.")
    limit: int = Field(10, ge=1, le=MOST_HITS, description="Entries at most.")


class SearchParameters(Narrowing):
    """What to search for, and where."""

    q: str = Field(
        min_length=1,
        max_length=MOST_QUERY_CHARACTERS,
        description='What to look for: words, a question, or a "phrase in quotation marks".',
        examples=["how long do we keep backups?"],
    )
    mode: Literal["hybrid", "semantic", "keyword"] = Field(
        "hybrid", description="By meaning (`semantic`), by words (`keyword`), or both."
    )
    kb: Many = Field(default_factory=list, description="Only in this knowledge base, or in these.")
    limit: int = Field(10, ge=1, le=MOST_HITS, description="Entries at most.")
    offset: int = Field(
        0,
        ge=0,
        lt=MOST_HITS,
        description=f"How many of the best to leave out; with `limit`, at most {MOST_HITS:,}.",
    )
    wait_for: int | None = Field(
        None,
        ge=0,
        le=_MOST,
        description="A revision: wait until that write can be found by meaning.",
    )
    timeout: float = Field(
        10.0, ge=0, le=MOST_WAIT_S, description="How long to wait for it, in seconds."
    )

    def request(self) -> SearchRequest:
        """What is asked for.

        Raises:
            InvalidQueryError: it cannot be answered; the message says what to change.
        """
        request = SearchRequest(
            query=self.q,
            mode=Mode(self.mode),
            filters=self.filters(*self.kb),
            limit=self.limit,
            offset=self.offset,
            wait_for=self.wait_for,
            timeout_s=self.timeout,
        )
        request.check()
        return request

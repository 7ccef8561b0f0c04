"""What the server answers, described. The names are those of the command's JSON.

Times are in seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Embedding = Annotated[
    Literal["pending", "processing", "done", "failed"],
    Field(description="Where the embedding of its present text stands."),
]
Freshness = Annotated[
    Literal["fresh", "stale", "missing"],
    Field(description="Whether it can be found by the meaning of its present text."),
]
Revision = Annotated[
    int,
    Field(description="Names the write among all of the database; also the ETag.", examples=[17]),
]
EntryId = Annotated[
    str, Field(description="Its path without the ending.", examples=["ops/backups"])
]
KBName = Annotated[str, Field(description="Its knowledge base.", examples=["notes"])]
Time = Annotated[float, Field(description="Seconds since the epoch.", examples=[1795370000.0])]


class Answer(BaseModel):
    """An answer's JSON."""

    model_config = ConfigDict(extra="forbid")


class Fault(Answer):
    """What is wrong with one part of a request."""

    field: str = Field(
        description="Which one, from the outside in, with dots between; empty for the whole."
    )
    reason: str


class Problem(BaseModel):
    """What is wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field("about:blank", description="What kind of problem, where there are several.")
    title: str = Field(description="The kind, in a few words.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str | None = Field(None, description="What it is this time, and what to do.")
    errors: list[Fault] | None = Field(
        None, description="With 422, and only then: which fields are at fault."
    )


class KB(Answer):
    """A knowledge base and the state of its entries."""

    name: KBName
    added_at: Time
    entries: int = Field(description="All entries.")
    embedded: int = Field(description="Those whose present text is embedded.")
    pending: int = Field(description="Those still to be embedded.")
    failed: int = Field(description="Those that could not be embedded.")
    coverage: float = Field(ge=0, le=1, description="The share that is embedded, rounded down.")
    unavailable: str | None = Field(
        description="Why its files cannot be reached: its entries are found, and writes refused."
    )


class KBs(Answer):
    """All knowledge bases by name."""

    kbs: list[KB]


class ListedEntry(Answer):
    """An entry without its body."""

    kb: KBName
    id: EntryId
    type: str
    title: str
    summary: str
    tags: list[str]
    fields: dict[str, JsonValue] = Field(description="All other fields of the front matter.")
    revision: Revision
    updated_at: Time
    embedding: Embedding


class Entry(ListedEntry):
    """An entry."""

    body: str = Field(description="The text, in Markdown.")


class Entries(Answer):
    """Entries in order of their ids, without their bodies."""

    entries: list[ListedEntry]
    more: bool = Field(description="Whether there are more; `Link` says where.")


class Written(Answer):
    """What a write did."""

    kb: KBName
    id: EntryId
    revision: Revision
    changed: bool = Field(description="False where it said what was there already.")
    embedding: Embedding


class BulkResult(Answer):
    """What became of one entry."""

    status: Literal["created", "exists", "invalid", "failed"] = Field(
        description="`exists`: there is an entry or a file of that id already. `invalid`: it "
        "cannot be an entry. `failed`: its file could not be written."
    )
    id: str | None = Field(description="Its id, where one was given or could be made.")
    revision: int | None
    embedding: Embedding | None
    error: str | None = Field(description="Why it was not created.")


class BulkResults(Answer):
    """What became of each entry, in the order in which they were sent."""

    created: int = Field(description="How many were created.")
    results: list[BulkResult]


class Excerpt(Answer):
    """A passage of an entry's body."""

    headings: list[str] = Field(description="What it stands under, outermost first.")
    start: int = Field(description="First character of it in the body.")
    end: int
    text: str = Field(description="The best of it, on one line.")
    highlights: list[tuple[int, int]] = Field(
        description="Where in `text` the query's words are: first and last (exclusive) character."
    )


class Pending(Answer):
    """What a search by meaning could not see."""

    pending: int
    failed: int
    oldest_pending_age_s: float | None


class Scores(Answer):
    """Why an entry was found: its score and its place by words and by meaning."""

    keyword: float | None = Field(description="Okapi BM25.")
    keyword_rank: int | None
    semantic: float | None = Field(description="Cosine similarity.")
    semantic_rank: int | None


class Hit(Answer):
    """An entry that was found."""

    kb: KBName
    id: EntryId
    title: str
    type: str
    tags: list[str]
    score: float = Field(description="What the hits are ordered by.")
    scores: Scores
    passage: Excerpt
    freshness: Freshness
    revision: Revision


class Waited(Answer):
    """What came of waiting for a write."""

    revision: Revision
    outcome: Literal["embedded", "failed", "superseded", "timed_out"]
    seconds: float


class SearchResult(Answer):
    """What was found, best first."""

    query: str
    mode: Literal["hybrid", "semantic", "keyword"]
    hits: list[Hit]
    more: bool = Field(description="Whether another page would have hits.")
    freshness: Pending
    waited: Waited | None
    warning: str | None = Field(description="What to know of how this answer came about.")


class WrittenLink(Answer):
    """A link as it is written."""

    kind: Literal["wiki", "embed", "markdown"]
    target: str = Field(description="What it names: an id, its end, a title; or a path.")
    fragment: str = Field(description="The heading, or after `^` the block; empty for none.")
    shown: str = Field(description="What is to be read instead of the target; empty for none.")
    line: int = Field(description="Where it is in the file, counted from 1.")


class DanglingLink(WrittenLink):
    """A link that leads nowhere, and the entry that it is in."""

    kb: KBName
    id: EntryId


class DanglingLinks(Answer):
    """Links that lead nowhere, by the entry that they are in."""

    links: list[DanglingLink]
    more: bool = Field(description="Whether there are more; `Link` says where.")


class Link(WrittenLink):
    """A link and what it leads to."""

    state: Literal["resolved", "ambiguous", "dangling"]
    leads_to: list[str] = Field(description="Ids: of several, any may be meant.")


class Backlink(Link):
    """A link to an entry, or one that may mean it."""

    id: EntryId


class Links(Answer):
    """What an entry links to, in order of its text, and what links to it."""

    kb: KBName
    id: EntryId
    links: list[Link]
    backlinks: list[Backlink]


class RelatedHit(Answer):
    """An entry near another one."""

    kb: KBName
    id: EntryId
    title: str
    score: float = Field(description="Mean cosine similarity of the nearest passages.")
    passage: Excerpt
    freshness: Freshness


class RelatedResult(Answer):
    """The entries that are about the same as one, best first."""

    kb: KBName
    id: EntryId
    embedded: Freshness
    hits: list[RelatedHit]
    freshness: Pending

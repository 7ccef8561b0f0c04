"""What MCP's tools take: the parameters of the API, in the form and the bounds of a tool.

An agent names one type, and reads a page of a hundred at most; a tool has no address that says
which knowledge base is meant.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pyrite.api import parameters
from pyrite.api.base import doc
from pyrite.api.parameters import MOST, MOST_VALUES, Parameters

#: The longest text that is taken for an id, a name or a value to filter by.
_LINE = 1000

#: The longest part of a body that is given in one answer, and how much of it without asking.
MOST_CHARACTERS = 200_000
USUAL_CHARACTERS = 20_000

KB = Annotated[
    str, doc("The knowledge base; may be left out where there is only one.", max_length=_LINE)
]
SomeKBs = Annotated[
    Annotated[str, Meta(max_length=_LINE)] | Annotated[list[str], Meta(max_length=MOST_VALUES)],
    doc("Only of this knowledge base, or of these."),
]
Id = Annotated[
    str,
    doc(
        "The entry's id: its path in the folder without `.md`, such as ops/backups.",
        min_length=1,
        max_length=_LINE,
    ),
]
SomeId = Annotated[
    str,
    doc(
        "The entry's id; without it, what is asked for is that of all entries.",
        min_length=1,
        max_length=_LINE,
    ),
]
Heading = Annotated[str, doc("Only the section under the heading of this title.", max_length=_LINE)]
Appended = Annotated[str, doc("Markdown to add at the end of the present text.")]
OnlyType = Annotated[str, doc("Only entries of this type.", max_length=_LINE)]
Limit = Annotated[int, doc("At most so many.", ge=1, le=100)]
IfRevision = Annotated[
    int, doc("The revision you have read: refuse if somebody has changed it since.", ge=0, le=MOST)
]
KBPlace = Annotated[str, doc("The folder, absolute.", min_length=1, max_length=4096)]
ThisKB = Annotated[str, doc("The knowledge base's name.", min_length=1, max_length=_LINE)]


class OneEntry(Parameters, kw_only=True):
    """Which entry."""

    id: Id
    kb: KB | None = None


class Search(parameters.SearchParameters, kw_only=True):
    """What to search for, and where."""

    type: OnlyType | None = None  # type: ignore[assignment]
    kb: SomeKBs | None = None  # type: ignore[assignment]
    limit: Limit = 10


class Listing(parameters.ListParameters, kw_only=True):
    """Which entries to list."""

    type: OnlyType | None = None  # type: ignore[assignment]
    kb: SomeKBs | None = None
    limit: Limit = 50


class Related(parameters.RelatedParameters, kw_only=True):
    """To which entry, and among which."""

    id: Id
    kb: KB | None = None
    type: OnlyType | None = None  # type: ignore[assignment]
    limit: Limit = 10


class Reading(OneEntry, kw_only=True):
    """Which entry to read, and which part of it."""

    heading: Heading | None = None
    start: Annotated[int, doc("Where to begin in the body, in characters.", ge=0, le=MOST)] = 0
    max_characters: Annotated[
        int, doc("How much of the body to give, at most.", ge=1, le=MOST_CHARACTERS)
    ] = USUAL_CHARACTERS


class Linking(Parameters, kw_only=True):
    """Whose links to list."""

    id: SomeId | None = None
    kb: KB | None = None
    limit: Limit = 50
    offset: parameters.Offset = 0


class Failures(parameters.FailureParameters, kw_only=True):
    """Which failures to list."""

    limit: Limit = 50


class Creation(parameters.NewEntry, kw_only=True):
    """An entry to be created."""

    title: Annotated[parameters.Text, doc("Its title.", min_length=1, max_length=_LINE)]
    kb: KB | None = None


class Update(parameters.EntryPatch, kw_only=True):
    """What to change of which entry."""

    id: Id
    kb: KB | None = None
    append: Appended | None = None
    if_revision: IfRevision | None = None


class Deletion(OneEntry, kw_only=True):
    """Which entry to delete."""

    if_revision: IfRevision | None = None


class NewKB(Parameters, kw_only=True):
    """A folder to be registered as a knowledge base."""

    name: ThisKB
    path: KBPlace


class NamedKB(Parameters, kw_only=True):
    """A knowledge base."""

    name: ThisKB


class Nothing(Parameters, kw_only=True):
    """No parameters."""

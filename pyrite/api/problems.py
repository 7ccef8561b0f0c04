"""Errors as the client sees them: RFC 9457 problem details, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from pyrite.api.base import doc
from pyrite.config.redaction import without_paths

MEDIA_TYPE = "application/problem+json"


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with one part of a request."""

    field: Annotated[
        str,
        doc(
            "Which one, from the outside in, with dots between; empty for the whole.",
            "entries.0.title",
        ),
    ]
    reason: str


class Problem(Struct, frozen=True, kw_only=True):
    """What is wrong (RFC 9457)."""

    type: Annotated[str, doc("What kind of problem, where there are several.")] = "about:blank"
    title: Annotated[str, doc("The kind, in a few words.", "Not found")]
    status: Annotated[int, doc("The HTTP status.", 404)]
    detail: Annotated[str, doc("What it is this time, and what to do.")] | UnsetType = UNSET
    errors: (
        Annotated[list[Fault], doc("With 422, and only then: which fields are at fault.")]
        | UnsetType
    ) = UNSET
    revision: Annotated[int, doc("With 412: at which the entry is now.")] | UnsetType = UNSET


class ProblemError(Exception):
    """An answer that is an error, as the client is to see it.

    Args:
        status: the HTTP status.
        title: what kind of problem it is, in a few words.
        detail: what it is this time, and what to do.
        headers: of the answer.
        errors: which fields are at fault.
        revision: at which an entry is now.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[Fault] | UnsetType = UNSET,
        revision: int | UnsetType = UNSET,
    ) -> None:
        super().__init__(title if detail is None else f"{title}: {detail}")
        self.status = int(status)
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors
        self.revision = revision

    @property
    def problem(self) -> Problem:
        """The body of the answer."""
        return Problem(
            title=self.title,
            status=self.status,
            detail=UNSET if self.detail is None else without_paths(self.detail),
            errors=self.errors,
            revision=self.revision,
        )


def fault(field: str, reason: str) -> Fault:
    """What is wrong with one part of a request; without a name, with the whole of it."""
    return Fault(field=field, reason=without_paths(_printable(reason)))


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()

"""Errors as the client sees them: RFC 9457 problem details, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyrite.config.redaction import without_paths

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer that is an error, as the client is to see it.

    Args:
        status: the HTTP status.
        title: what kind of problem it is, in a few words.
        detail: what it is this time, and what to do.
        headers: of the answer.
        extra: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(title if detail is None else f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


def fault(field: str, reason: str) -> dict[str, str]:
    """What is wrong with one part of a request; without a name, with the whole of it."""
    return {"field": field, "reason": without_paths(_printable(reason))}


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()

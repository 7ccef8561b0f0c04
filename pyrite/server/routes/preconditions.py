"""What a request's If-Match and If-None-Match make of it: so that no editor's work is lost.

An entry's ETag is its revision. Whoever changes an entry says which one they have read; if it
has moved on since, somebody else has written, and nothing is changed.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags

from pyrite.api.problems import ProblemError

#: What proxies that compress an answer put at the end of its ETag: Caddy's `"1-zstd"`, Apache's
#: `"1-gzip"`. nginx makes it weak instead.
_COMPRESSED = re.compile(r"-(?:gzip|br|zstd|deflate)\Z")

_ETAG = r'(?:(?:W/)?"[^"\s]*"|\d+)'
_ETAGS = re.compile(rf"\s*(?:\*|{_ETAG}(?:\s*,\s*{_ETAG})*)\s*")


def etag(revision: int) -> str:
    """The ETag of an entry at a revision."""
    return f'"{revision}"'


def names_revision(tags: ETags, revision: int) -> bool:
    """Whether one of some ETags is that of a revision, as we gave it or as a proxy has made it.

    A weak one, or one for a compressed answer, names the same revision: an entry's ETag says
    which text was read, and not which bytes came over the line.
    """
    return tags.star_tag or str(revision) in {
        _COMPRESSED.sub("", tag) for tag in tags.as_set(include_weak=True)
    }


def if_match(given: str) -> ETags | None:
    """What If-Match names; None where it is empty. A bare number is taken for an ETag.

    Raises:
        ProblemError: 400 where it is no list of ETags.
    """
    if not given.strip():
        return None
    if not _ETAGS.fullmatch(given):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "Malformed If-Match",
            "If-Match takes the ETag of an entry, a number in quotation marks, or `*`",
        )
    return parse_etags(given)


def expected_revision(match: ETags | None, present: int) -> int | None:
    """The revision at which an entry may be changed; None for any.

    Args:
        match: If-Match; None where the request has none.
        present: the entry's revision now.

    Raises:
        ProblemError: 428 without If-Match, 412 if the entry is at another revision.
    """
    if match is None:
        raise ProblemError(
            HTTPStatus.PRECONDITION_REQUIRED,
            "Precondition required",
            "say in If-Match which revision is to be changed, as its ETag; `*` means any",
            headers={"ETag": etag(present)},
        )
    if match.star_tag:
        return None
    if not names_revision(match, present):
        raise moved_on(present)
    return present


def moved_on(present: int) -> ProblemError:
    """What to say where an entry is not at the revision that was named."""
    return ProblemError(
        HTTPStatus.PRECONDITION_FAILED,
        "Changed meanwhile",
        f"the entry is at revision {present}: somebody has changed it; read it again",
        headers={"ETag": etag(present)},
        revision=present,
    )


def not_there(entry_id: str) -> ProblemError:
    """What to say where If-Match names a revision of what is not there."""
    return ProblemError(
        HTTPStatus.PRECONDITION_FAILED,
        "Not there",
        f"there is no entry {entry_id!r}, so it is at no revision; leave out If-Match to create it",
    )

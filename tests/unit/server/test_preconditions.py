"""If-Match decides whether an entry may be changed."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import ETags

from pyrite.api.problems import ProblemError
from pyrite.server.routes.preconditions import etag, expected_revision, if_match


def match(header: str | None) -> ETags | None:
    return if_match(header or "")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *(('"7"', 7), ('"6", "7"', 7), ("*", None), (etag(7), 7), ("7", 7)),
        # As proxies that compress have it.
        *(('W/"7"', 7), ('"7-gzip"', 7), ('"7-zstd"', 7), ('W/"7-br"', 7), ('"6", "7-gzip"', 7)),
    ],
)
def test_who_has_read_the_present_revision_may(header: str, expected: int | None) -> None:
    assert expected_revision(match(header), 7) == expected


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 428), ('"6"', 412), ('W/"6"', 412), ('"x"', 412), ('"6-gzip"', 412), ('"7-x"', 412)],
)
def test_who_has_not_may_not(header: str | None, status: int) -> None:
    with pytest.raises(ProblemError) as refused:
        expected_revision(match(header), 7)
    assert refused.value.status == status
    assert refused.value.headers["ETag"] == '"7"'


@pytest.mark.parametrize("header", ["foo", '"7', "7'", '"6" "7"', '*, "7"', "W/7", '"7",', "\\"])
def test_what_is_no_etag_is_not_taken_for_an_old_one(header: str) -> None:
    with pytest.raises(ProblemError) as refused:
        if_match(header)
    assert refused.value.status == 400

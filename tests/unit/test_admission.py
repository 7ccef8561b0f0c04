"""Connections are counted in all and by address."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import pytest

from pyrite.server.connections.admission import Admission, SaySeldom


def admitted(opened: ExitStack, admission: Admission, peer: str, number: int) -> int:
    """How many of so many connections are served."""
    return sum(opened.enter_context(admission.admitted(peer)) for _ in range(number))


@pytest.mark.parametrize(("descriptors", "most"), [(64, 16), (128, 64), (1024, 960)])
def test_some_descriptors_are_kept_back(descriptors: int, most: int) -> None:
    admission = Admission(descriptors)
    with ExitStack() as opened:
        assert admitted(opened, admission, "127.0.0.1", descriptors) == most
        assert admitted(opened, admission, "192.0.2.1", 1) == 0
    with ExitStack() as opened:
        assert admitted(opened, admission, "::1", descriptors) == most


def test_one_address_does_not_shut_out_the_others() -> None:
    admission = Admission(128)
    with ExitStack() as opened:
        assert admitted(opened, admission, "192.0.2.1", 100) == 32
        assert admitted(opened, admission, "2001:db8::1", 100) == 32
        assert admitted(opened, admission, "192.0.2.2", 1) == 0


@pytest.mark.parametrize("peer", ["127.0.0.2", "::1", "::ffff:127.0.0.1", ""])
def test_this_computer_may_be_a_proxy(peer: str) -> None:
    with ExitStack() as opened:
        assert admitted(opened, Admission(128), peer, 100) == 64


def test_refusals_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as opened:
        admitted(opened, Admission(128), "192.0.2.1", 100)
    (record,) = caplog.records
    assert "32 are open, of 64 at most; 32 of them from 192.0.2.1" in record.message


def test_what_trio_says_without_descriptors_is_said_once_a_minute() -> None:
    seldom = SaySeldom()
    error = (OSError, OSError("too many"), None)
    record = logging.LogRecord("trio", logging.ERROR, "", 0, "accept returned", (), error)
    assert [seldom.filter(record) for _ in range(3)] == [True, False, False]
    assert record.exc_info is None

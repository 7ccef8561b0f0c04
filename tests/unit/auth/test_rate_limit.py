"""A client may run a second ahead of its rate, and then has to wait."""

from __future__ import annotations

import pytest

from pyrite.auth import rate_limit
from pyrite.auth.rate_limit import RateLimit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_seconds_requests_may_come_at_once_and_no_more(clock: Clock) -> None:
    bucket = RateLimit(10.0, clock)
    assert [bucket.take("a") for _ in range(10)] == [0.0] * 10
    assert bucket.take("a") == pytest.approx(0.1)
    assert bucket.take("a") == pytest.approx(0.1), "a refused request costs nothing"


def test_who_waits_as_long_as_told_is_let_in(clock: Clock) -> None:
    bucket = RateLimit(10.0, clock)
    for _ in range(10):
        bucket.take("a")
    clock.now += bucket.take("a") + 1e-6
    assert bucket.take("a") == 0.0
    assert bucket.take("a") > 0.09


def test_in_the_long_run_it_is_the_rate(clock: Clock) -> None:
    bucket = RateLimit(3.0, clock)
    let_in = 0
    for _ in range(60 * 100):
        let_in += bucket.take("a") == 0.0
        clock.now += 0.01
    assert 60 * 3 <= let_in <= 60 * 3 + 3


def test_clients_do_not_disturb_one_another(clock: Clock) -> None:
    bucket = RateLimit(1.0, clock)
    assert bucket.take("a") == 0.0
    assert bucket.take("a") > 0.0
    assert bucket.take("b") == 0.0


def test_a_rate_below_one_lets_single_requests_in(clock: Clock) -> None:
    bucket = RateLimit(0.1, clock)
    assert bucket.take("a") == 0.0
    assert bucket.take("a") == pytest.approx(10.0)
    clock.now += 10.0
    assert bucket.take("a") == 0.0


def test_no_rate_is_no_limit(clock: Clock) -> None:
    bucket = RateLimit(0.0, clock)
    assert not any(bucket.take("a") for _ in range(10_000))


def test_clients_that_have_gone_are_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_MANY", 3)
    bucket = RateLimit(1.0, clock)
    for client in "abc":
        bucket.take(client)
    clock.now += 5.0
    bucket.take("d")
    assert set(bucket._worked_off) == {"d"}
    # While none can be forgotten, each newcomer must not cost a look at all the others.
    for client in "efgh":
        bucket.take(client)
    assert bucket._prune_at == 8

"""The life of a queue row: every line of the table, and nothing beside it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lifecycle import (
    LEASE_EXPIRED,
    Claimed,
    Embedded,
    Failed,
    IllegalTransitionError,
    LeaseExpired,
    Released,
    Retried,
    RetryPolicy,
    Status,
    Transition,
    Written,
    after,
)

PENDING, PROCESSING, DONE, FAILED = Status
POLICY = RetryPolicy(max_attempts=3, base_s=2.0, cap_s=300.0, jitter=0.25)
NOW = 1000.0

TABLE = [
    # any, Written -> pending, due now, 0
    *(
        pytest.param(s, n, Written(), Transition(PENDING, 0), id=f"{s} {n} written")
        for s in Status
        for n in (0, 1, 3)
    ),
    # pending, Claimed -> processing, +1
    (PENDING, 0, Claimed(), Transition(PROCESSING, 1)),
    (PENDING, 2, Claimed(), Transition(PROCESSING, 3)),
    # processing, Embedded -> done, kept
    (PROCESSING, 1, Embedded(), Transition(DONE, 1)),
    (PROCESSING, 3, Embedded(), Transition(DONE, 3)),
    # processing, Embedded but the revision moved on -> pending, due now, 0
    (PROCESSING, 1, Embedded(current=False), Transition(PENDING, 0)),
    (PROCESSING, 3, Embedded(current=False), Transition(PENDING, 0)),
    # processing, Failed below max -> pending after a backoff, kept
    (PROCESSING, 1, Failed("why"), Transition(PENDING, 1, NOW + 2.0, "why")),
    (PROCESSING, 2, Failed("why"), Transition(PENDING, 2, NOW + 4.0, "why")),
    # processing, Failed at max or for good -> failed, kept
    (PROCESSING, 3, Failed("why"), Transition(FAILED, 3, None, "why")),
    (PROCESSING, 4, Failed("why"), Transition(FAILED, 4, None, "why")),
    (PROCESSING, 1, Failed("why", final=True), Transition(FAILED, 1, None, "why")),
    # processing, Released -> pending, due now, -1
    (PROCESSING, 1, Released(), Transition(PENDING, 0)),
    (PROCESSING, 3, Released(), Transition(PENDING, 2)),
    # processing, LeaseExpired -> pending, or failed at max, kept
    (PROCESSING, 1, LeaseExpired(), Transition(PENDING, 1, None, LEASE_EXPIRED, suspect=True)),
    (PROCESSING, 2, LeaseExpired(), Transition(PENDING, 2, None, LEASE_EXPIRED, suspect=True)),
    (PROCESSING, 3, LeaseExpired(), Transition(FAILED, 3, None, LEASE_EXPIRED)),
    (PROCESSING, 4, LeaseExpired(), Transition(FAILED, 4, None, LEASE_EXPIRED)),
    # failed, Retried -> pending, due now, 0
    (FAILED, 3, Retried(), Transition(PENDING, 0)),
    (FAILED, 1, Retried(), Transition(PENDING, 0)),
]

OCCURRENCES = [
    Written(),
    Claimed(),
    Embedded(),
    Embedded(current=False),
    Failed("why"),
    Failed("why", final=True),
    Released(),
    LeaseExpired(),
    Retried(),
]

#: Written from the table by hand, so that it does not repeat the code's own.
LEGAL = {
    *itertools.product(Status, [Written()]),
    (PENDING, Claimed()),
    *itertools.product(
        [PROCESSING],
        [
            Embedded(),
            Embedded(current=False),
            Failed("why"),
            Failed("why", final=True),
            Released(),
            LeaseExpired(),
        ],
    ),
    (FAILED, Retried()),
}
PAIRS = list(itertools.product(Status, OCCURRENCES))


@pytest.mark.parametrize(("status", "attempts", "occurrence", "expected"), TABLE)
def test_each_line_of_the_table(status, attempts, occurrence, expected):
    assert after(status, attempts, occurrence, now=NOW, policy=POLICY) == expected


@pytest.mark.parametrize(("status", "occurrence"), PAIRS)
def test_what_the_table_does_not_name_is_illegal(status, occurrence):
    if (status, occurrence) in LEGAL:
        assert isinstance(after(status, 1, occurrence, now=NOW, policy=POLICY), Transition)
    else:
        name = type(occurrence).__name__
        with pytest.raises(IllegalTransitionError, match=f"^{name} cannot befall a {status} row$"):
            after(status, 1, occurrence, now=NOW, policy=POLICY)


def test_a_single_attempt_leaves_no_retry():
    once = RetryPolicy(max_attempts=1)
    assert after(PROCESSING, 1, Failed("why"), now=NOW, policy=once).status is FAILED
    assert after(PROCESSING, 1, LeaseExpired(), now=NOW, policy=once).status is FAILED


def test_the_jitter_reaches_the_due_time():
    transition = after(PROCESSING, 1, Failed("why"), now=NOW, policy=POLICY, chance=0.5)
    assert transition.available_at == NOW + 2.0 * (1 + 0.25 * 0.5)


def test_a_crashing_entry_cannot_loop_for_ever():
    """Claimed and lost again and again, it fails after as many leases as it has attempts."""
    status, attempts, leases = PENDING, 0, 0
    while status is PENDING:
        for occurrence in (Claimed(), LeaseExpired()):
            transition = after(status, attempts, occurrence, now=NOW, policy=POLICY)
            status, attempts = transition.status, transition.attempts
        leases += 1
    assert (status, leases) == (FAILED, POLICY.max_attempts)


def test_a_graceful_stop_costs_nothing():
    claimed = after(PENDING, 2, Claimed(), now=NOW, policy=POLICY)
    released = after(claimed.status, claimed.attempts, Released(), now=NOW, policy=POLICY)
    assert released == Transition(PENDING, 2)


# The backoff

policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    base_s=st.floats(0.001, 100),
    cap_s=st.floats(100, 10_000),
    jitter=st.floats(0, 1),
)
#: Some 10**30 attempts would overflow any unbounded power of two.
many_attempts = st.integers(1, 10**30)
chances = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 100))
def test_the_backoff_doubles_up_to_the_cap(policy, attempts):
    now, then = policy.backoff(attempts, 0.0), policy.backoff(attempts + 1, 0.0)
    assert then == min(policy.cap_s, 2 * now)


@given(policies)
def test_the_first_backoff_is_the_base(policy):
    assert policy.backoff(1, 0.0) == policy.base_s


@given(policies, many_attempts, chances)
def test_the_jitter_is_bounded(policy, attempts, chance):
    plain, jittered = policy.backoff(attempts, 0.0), policy.backoff(attempts, chance)
    assert plain <= jittered <= plain * (1 + policy.jitter)


@given(policies, many_attempts)
def test_the_cap_holds_however_many_attempts(policy, attempts):
    assert policy.backoff(attempts, 0.0) <= policy.cap_s
    assert policy.backoff(10**30, 0.0) == policy.cap_s

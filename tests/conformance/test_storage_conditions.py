"""Conditions: trees of words and filters, against what they mean for each entry."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrite.markdown.entry import JSON
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, AllOf, AnyOf, Condition, Filters, Not, Terms, WordQuery
from tests.conformance.conftest import Opener
from tests.conformance.hands import entry, record

#: Entry: title, body, tags, fields.
SHELF: dict[str, tuple[str, str, tuple[str, ...], dict[str, JSON]]] = {
    "ops/red": ("ash", "oak elm common", ("red",), {}),
    "ops/Übung": ("oak", "ash elm common", ("red", "blue"), {}),
    "Notes/plain": ("elm", "birch elm common", (), {}),
    "notes/50%_off": ("fir", "common birch", ("blue",), {"owner": "Kim"}),
}
EVERY = frozenset(SHELF)
BIRCH = {"Notes/plain", "notes/50%_off"}

LEAVES: tuple[tuple[Condition, set[str]], ...] = (
    (Terms("ash"), {"ops/red", "ops/Übung"}),
    (Terms("ash", column="title"), {"ops/red"}),
    (Terms("oak elm"), {"ops/red"}),
    (Terms("bir", prefix=True), BIRCH),
    (Terms("elm com", prefix=True, column="body"), EVERY - {"notes/50%_off"}),
    (Terms("nowhere"), set()),
    (Terms('ash" OR "birch'), set()),
    (Filters(tags=("red",)), {"ops/red", "ops/Übung"}),
    (Filters(tags=("blue", "red")), {"ops/Übung"}),
    (Filters(fields={"owner": "Kim"}), {"notes/50%_off"}),
    (Filters(paths=("notes/",)), BIRCH),
    (Filters(paths=("übung",)), {"ops/Übung"}),
    (Filters(paths=("u\u0308BUNG",)), {"ops/Übung"}),
    (Filters(paths=("50%_",)), {"notes/50%_off"}),
    (Filters(paths=("_",)), {"notes/50%_off"}),
    (Filters(paths=("n*/p*.md",)), {"Notes/plain"}),
    (AllOf(()), set(EVERY)),
    (AnyOf(()), set()),
)


@pytest.fixture
def shelf(opener: Opener) -> Storage:
    storage = opener()
    storage.add_kb("kb", "/kb", now=0.0)
    entries = [
        entry(name, body, title=title, tags=tags, fields=fields)
        for name, (title, body, tags, fields) in SHELF.items()
    ]
    with storage.writing() as writing:
        writing.upsert([record("kb", each) for each in entries], priority=BULK, now=0.0)
    return storage


def meant(condition: Condition) -> set[str]:
    """The entries for which a condition holds."""
    for leaf, found in LEAVES:
        if condition == leaf:
            return found
    match condition:
        case AllOf(parts):
            return set(EVERY).intersection(*map(meant, parts))
        case AnyOf(parts):
            return set().union(*map(meant, parts))
        case Not(part):
            return EVERY - meant(part)
        case _:
            raise AssertionError(condition)


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from([condition for condition, _ in LEAVES]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, max_size=4).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(("condition", "found"), LEAVES)
def test_a_condition_holds_of_such_entries(
    shelf: Storage, condition: Condition, found: set[str]
) -> None:
    assert {e.entry.id for e in shelf.entries(Filters(condition=condition))} == found


@pytest.mark.repeats
def test_a_tree_means_what_its_parts_mean(shelf: Storage) -> None:
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(condition=CONDITIONS)
    def check(condition: Condition) -> None:
        filters = Filters(condition=condition)
        expected = meant(condition)
        assert {stored.entry.id for stored in shelf.entries(filters)} == expected
        hits = shelf.with_words(WordQuery(("common", Terms("as", prefix=True))), filters, limit=9)
        assert {hit.entry_id for hit in hits} == expected
        phrased = shelf.with_words(WordQuery(("birch",), ("elm common",)), filters, limit=9)
        assert {hit.entry_id for hit in phrased} == expected - {"notes/50%_off"}

    check()

"""Filters: one table of cases, and the same answer through every door that takes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrite.markdown.entry import JSON
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, Filters, WordQuery
from tests.conformance.conftest import Opener
from tests.conformance.hands import Worker, entry, layout, record

#: Noon on the 10th of January 2024, when all of the shelf is written.
WRITTEN = 1_704_888_000.0
DAY = 86_400.0

#: A word and a line that every entry has, so that all are found when nothing is filtered.
WORD = WordQuery(("common",))

Found = set[str]


def through_entries(storage: Storage, worker: Worker, filters: Filters) -> Found:
    found = [f"{stored.kb}:{stored.entry.id}" for stored in storage.entries(filters)]
    assert found == sorted(found)
    return set(found)


def through_words(storage: Storage, worker: Worker, filters: Filters) -> Found:
    hits = storage.with_words(WORD, filters, limit=1000)
    assert len(hits) == len(set(hits))
    return {f"{hit.kb}:{hit.entry_id}" for hit in hits}


def through_passages(storage: Storage, worker: Worker, filters: Filters) -> Found:
    every = [number for number, _ in storage.embeddings_after(worker.model_id, 0, 1000)]
    passages = storage.passages(every, filters)
    found = {f"{passage.kb}:{passage.entry_id}" for passage in passages}
    # Both lines of each entry, or neither.
    assert len(passages) == len(set(passages)) == 2 * len(found)
    return found


def through_embedding_ids(storage: Storage, worker: Worker, filters: Filters) -> Found:
    numbers = storage.embedding_ids(worker.model_id, filters)
    assert numbers == sorted(set(numbers))
    # The second line of each entry is its own, so its embedding names it.
    own: dict[int, str] = {}
    shared = set()
    for stored in storage.entries():
        first, second = layout(storage, worker.model_id, stored.kb, stored.entry.id)
        own[second.embedding_id] = f"{stored.kb}:{stored.entry.id}"
        shared.add(first.embedding_id)
    found = {own[number] for number in numbers if number not in shared}
    assert shared & set(numbers) == (shared if found else set())
    return found


DOORS: tuple[Callable[[Storage, Worker, Filters], Found], ...] = (
    through_entries,
    through_words,
    through_embedding_ids,
    through_passages,
)

ODD = "a.b[0]\"c' \\ $ ü🪨\n"

#: Entry, type, tags, fields, days after the 10th of January on which it is written.
SHELF: tuple[tuple[str, str, tuple[str, ...], dict[str, JSON], float], ...] = (
    ("kb:plain", "note", (), {}, 0),
    ("kb:later", "note", ("red",), {}, 20),
    ("kb:person", "person", ("red", "blue"), {"born": 1815, "alive": False}, 0),
    ("kb:dated", "event", ("blue",), {"date": "2023-06-15", "place": None}, 0),
    ("kb:timed", "event", (), {"date": "2023-06-16T00:30:00+02:00", "rating": 1.5}, 0),
    ("kb:misdated", "event", ("Red",), {"date": "2023-02-30", "rating": 1}, 0),
    ("kb:undated", "event", ("re",), {"date": ["2023-06-15"], "rating": "1"}, 0),
    ("kb:year", "it's", ("12",), {"date": 2023, "rating": True}, 0),
    ("kb:now", 'a"b', ("rédé",), {"date": "now", "rating": "true"}, 0),
    ("kb:clock", "%", ("a,b",), {"date": "12:30", "rating": "null"}, 0),
    ("other:list", "note", ("red",), {"place": ["Rome", 7, None, True, 2.5, ["Oslo"]]}, 0),
    ("other:nested", "person", (), {"place": {"Rome": "Rome"}, "alive": True}, 0),
    ("other:odd", "", ('"', "'"), {ODD: ODD, "": "empty", "place": ""}, 0),
    ("other:numbers", "note", (), {"big": 2**70, "huge": 1e100, "tiny": 1e-7, "third": 1 / 3}, 0),
    ("other:dotted", "note", (), {"a.b": "flat", "a": {"b": "deep"}, "neg": -0.0}, 0),
    ("third:plain", "note", ("red", "blue", "green"), {"alive": "false"}, -0.5),
)

EVERY = {name for name, *_ in SHELF}
#: Those that are of the day on which the index saw them.
UNDATED = EVERY - {"kb:dated", "kb:timed"}


def fields(**wanted: str) -> Filters:
    return Filters(fields=wanted)


CASES: tuple[tuple[Filters, Found], ...] = (
    (Filters(), EVERY),
    # Knowledge bases
    (Filters(kbs=("third",)), {"third:plain"}),
    (Filters(kbs=("third", "nowhere", "third")), {"third:plain"}),
    (Filters(kbs=("kb", "third")), {name for name in EVERY if not name.startswith("other")}),
    (Filters(kbs=("nowhere",)), set()),
    (Filters(kbs=("KB",)), set()),
    (Filters(kbs=("",)), set()),
    # Types
    (Filters(types=("person",)), {"kb:person", "other:nested"}),
    (Filters(types=("person", "it's")), {"kb:person", "other:nested", "kb:year"}),
    (Filters(types=('a"b',)), {"kb:now"}),
    (Filters(types=("%",)), {"kb:clock"}),
    (Filters(types=("",)), {"other:odd"}),
    (Filters(types=("Person",)), set()),
    (Filters(types=("pers",)), set()),
    # Tags: all of them
    (Filters(tags=("red",)), {"kb:later", "kb:person", "other:list", "third:plain"}),
    (Filters(tags=("red", "blue")), {"kb:person", "third:plain"}),
    (Filters(tags=("blue", "red", "green")), {"third:plain"}),
    (Filters(tags=("red", "red")), {"kb:later", "kb:person", "other:list", "third:plain"}),
    (Filters(tags=("Red",)), {"kb:misdated"}),
    (Filters(tags=("re",)), {"kb:undated"}),
    (Filters(tags=("rédé",)), {"kb:now"}),
    (Filters(tags=("12",)), {"kb:year"}),
    (Filters(tags=("a,b",)), {"kb:clock"}),
    (Filters(tags=("a",)), set()),
    (Filters(tags=('"',)), {"other:odd"}),
    (Filters(tags=('"', "'")), {"other:odd"}),
    (Filters(tags=("",)), set()),
    (Filters(tags=('["red"]',)), set()),
    # Days
    (Filters(since="2024-01-11"), {"kb:later"}),
    (Filters(since="2024-01-10"), UNDATED),
    (Filters(until="2024-01-09"), {"kb:dated", "kb:timed"}),
    (Filters(until="2024-01-10"), EVERY - {"kb:later"}),
    (Filters(since="2024-01-30", until="2024-01-30"), {"kb:later"}),
    (Filters(since="2024-01-31"), set()),
    (Filters(since="2023-06-15", until="2023-06-15"), {"kb:dated"}),
    (Filters(since="2023-06-16", until="2023-06-16"), {"kb:timed"}),
    (Filters(since="2023-06-17", until="2024-01-09"), set()),
    (Filters(until="2023-06-14"), set()),
    (Filters(since="2025-01-01", until="2023-01-01"), set()),
    # Fields: scalars as text
    (fields(born="1815"), {"kb:person"}),
    (fields(born="1815.0"), set()),
    (fields(born="181"), set()),
    (fields(date="2023-06-15"), {"kb:dated", "kb:undated"}),
    (fields(rating="1"), {"kb:misdated", "kb:undated"}),
    (fields(rating="1.5"), {"kb:timed"}),
    (fields(rating="true"), {"kb:year", "kb:now"}),
    (fields(rating="True"), set()),
    (fields(rating="null"), {"kb:clock"}),
    (fields(alive="false"), {"kb:person", "third:plain"}),
    (fields(alive="true"), {"other:nested"}),
    (fields(alive="0"), set()),
    (fields(place="null"), {"kb:dated", "other:list"}),
    (fields(place=""), {"other:odd"}),
    (fields(missing="null"), set()),
    (fields(missing=""), set()),
    (fields(big=str(2**70)), {"other:numbers"}),
    (fields(huge="1e+100"), {"other:numbers"}),
    (fields(tiny="1e-07"), {"other:numbers"}),
    (fields(third="0.3333333333333333"), {"other:numbers"}),
    (fields(neg="-0.0"), {"other:dotted"}),
    # Fields: lists contain, deeper things do not
    (fields(place="Rome"), {"other:list"}),
    (fields(place="7"), {"other:list"}),
    (fields(place="true"), {"other:list"}),
    (fields(place="1"), set()),
    (fields(place="2.5"), {"other:list"}),
    (fields(place="Oslo"), set()),
    (fields(place='["Oslo"]'), set()),
    (fields(place='{"Rome":"Rome"}'), set()),
    (fields(place='{"Rome": "Rome"}'), set()),
    # Fields: names are names, not paths
    (Filters(fields={"a.b": "flat"}), {"other:dotted"}),
    (Filters(fields={"a.b": "deep"}), set()),
    (Filters(fields={"$.a.b": "deep"}), set()),
    (Filters(fields={"a": "deep"}), set()),
    (Filters(fields={ODD: ODD}), {"other:odd"}),
    (Filters(fields={ODD: ODD + "x"}), set()),
    (Filters(fields={"": "empty"}), {"other:odd"}),
    (Filters(fields={"BORN": "1815"}), set()),
    # Nothing that is asked for is ever read as SQL
    (Filters(kbs=("kb') OR 1=1 --",)), set()),
    (Filters(types=("x' OR '1'='1",)), set()),
    (Filters(tags=('red") OR 1=1 --',)), set()),
    (Filters(since="' OR 1=1 --"), EVERY),  # an apostrophe sorts before every digit
    (Filters(until="0' OR 1=1 --"), set()),
    (Filters(fields={"born') OR 1=1 --": "1815"}), set()),
    (Filters(fields={"born": "x' OR '1'='1"}), set()),
    (Filters(fields={"%": "%"}), set()),
    (Filters(fields={"born": "?"}, tags=("?1",)), set()),
    (Filters(kbs=("kb\0",), tags=("\0",)), set()),
    # All that is said holds at once
    (
        Filters(kbs=("kb", "third"), tags=("red", "blue"), types=("person", "note")),
        {"kb:person", "third:plain"},
    ),
    (Filters(kbs=("kb",), types=("event",), until="2023-12-31"), {"kb:dated", "kb:timed"}),
    (
        Filters(
            ("kb", "other"), ("person",), ("red",), "2024-01-10", "2024-01-10", {"born": "1815"}
        ),
        {"kb:person"},
    ),
    (fields(born="1815", alive="false"), {"kb:person"}),
    (fields(born="1815", alive="true"), set()),
    (Filters(types=("person",), tags=("red",), since="2024-01-11"), set()),
)


def fill(storage: Storage) -> Worker:
    """Put the shelf into an empty storage, with every entry embedded."""
    for kb in ("kb", "other", "third"):
        storage.add_kb(kb, f"/{kb}", now=0.0)
    for name, entry_type, tags, fields, days in SHELF:
        kb, _, entry_id = name.partition(":")
        what = entry(entry_id, f"common\n{name}", entry_type=entry_type, tags=tags, fields=fields)
        with storage.writing() as writing:
            writing.upsert([record(kb, what)], priority=BULK, now=WRITTEN + days * DAY)
    worker = Worker(storage)
    worker.embed_all(WRITTEN)
    return worker


@pytest.mark.parametrize("door", DOORS, ids=[door.__name__ for door in DOORS])
def test_every_door_lets_the_same_entries_through(
    opener: Opener, door: Callable[[Storage, Worker, Filters], Found]
) -> None:
    storage = opener()
    worker = fill(storage)

    wrong = {
        str(filters): (found, expected)
        for filters, expected in CASES
        if (found := door(storage, worker, filters)) != expected
    }
    assert wrong == {}


SOME = st.sampled_from
ANY_FILTERS = st.builds(
    Filters,
    kbs=st.lists(SOME(["kb", "other", "third", "no"]), max_size=2).map(tuple),
    types=st.lists(SOME(["note", "person", "event", "it's"]), max_size=2).map(tuple),
    tags=st.lists(SOME(["red", "blue", "Red"]), max_size=2).map(tuple),
    since=st.none() | SOME(["2023-06-15", "2023-06-16", "2024-01-10", "2024-01-11"]),
    until=st.none() | SOME(["2023-06-15", "2024-01-09", "2024-01-10", "2024-02-01"]),
    fields=st.dictionaries(
        SOME(["rating", "alive", "place", "born", ODD]),
        SOME(["1", "true", "false", "Rome", "null", "1815", ODD]),
        max_size=1,
    ),
)


@pytest.mark.repeats
def test_filters_together_let_through_what_each_alone_does(opener: Opener) -> None:
    storage = opener()
    worker = fill(storage)

    @settings(
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(filters=ANY_FILTERS)
    def check(filters: Filters) -> None:
        alone = [
            Filters(kbs=filters.kbs),
            Filters(types=filters.types),
            *(Filters(tags=(tag,)) for tag in filters.tags),
            Filters(since=filters.since),
            Filters(until=filters.until),
            *(Filters(fields={name: value}) for name, value in filters.fields.items()),
        ]
        expected = set.intersection(*(through_entries(storage, worker, each) for each in alone))
        for door in DOORS:
            assert door(storage, worker, filters) == expected

    check()


def test_only_knowledge_bases_matter_or_more_does() -> None:
    assert Filters().whole_kbs
    assert Filters(kbs=("kb",)).whole_kbs
    for more in (
        Filters(types=("note",)),
        Filters(("kb",), tags=("a",)),
        Filters(since="2024-01-01"),
        Filters(until="2024-01-01"),
        Filters(fields={"a": "b"}),
    ):
        assert not more.whole_kbs


def test_a_day_follows_the_text_and_the_front_matter(storage: Storage) -> None:
    def on(day: str) -> bool:
        return bool(storage.entries(Filters(since=day, until=day)))

    def put(now: float, fields: dict[str, JSON]) -> None:
        with storage.writing() as writing:
            writing.upsert([record("kb", entry(fields=fields))], priority=BULK, now=now)

    put(WRITTEN, {})
    assert on("2024-01-10")
    put(WRITTEN + DAY / 2 - 1, {})
    assert on("2024-01-10")
    put(WRITTEN + DAY / 2, {})
    assert on("2024-01-11")
    assert not on("2024-01-10")
    put(WRITTEN, {"date": "1999-12-31"})
    assert on("1999-12-31")
    assert not on("2024-01-10")

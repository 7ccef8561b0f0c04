"""Words: found the moment a write is committed, ranked, and never mistaken for anything else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrite.markdown.entry import Entry
from pyrite.storage.protocol import Storage
from pyrite.storage.records import BULK, Filters, WordQuery
from tests.conformance.conftest import Opener
from tests.conformance.hands import delete, entry, highlights, record, write


def put(storage: Storage, *entries: Entry, kb: str = "kb") -> None:
    with storage.writing() as writing:
        writing.upsert([record(kb, each) for each in entries], priority=BULK, now=0.0)


def query(*words: str, phrases: Sequence[str] = ()) -> WordQuery:
    return WordQuery(words, tuple(phrases))


def found(storage: Storage, wanted: WordQuery, filters: Filters | None = None) -> list[str]:
    """Entries in order of their rank."""
    hits = storage.with_words(wanted, filters or Filters(), limit=1000)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0 for score in scores)
    return [hit.entry_id if hit.kb == "kb" else f"{hit.kb}:{hit.entry_id}" for hit in hits]


# When


def test_an_entry_is_found_the_moment_its_write_is_committed(
    storage: Storage, opener: Opener
) -> None:
    another = opener()
    with storage.writing() as writing:
        writing.upsert([record("kb", entry("a", "ash"))], priority=BULK, now=0.0)
        assert found(storage, query("ash")) == found(another, query("ash")) == []
    assert found(storage, query("ash")) == found(another, query("ash")) == ["a"]


def test_an_edit_is_found_by_its_new_words_only(storage: Storage) -> None:
    write(storage, "kb", "a", "ash and birch")
    write(storage, "kb", "a", "birch and cedar")

    assert found(storage, query("ash")) == []
    assert found(storage, query("birch")) == found(storage, query("cedar")) == ["a"]


def test_every_field_is_learnt_and_forgotten(storage: Storage) -> None:
    def with_all(word: str) -> Entry:
        return entry(
            body=f"{word}body", title=f"{word}title", summary=f"{word}sum", tags=(f"{word}tag", "t")
        )

    fields = ("body", "title", "sum", "tag")
    put(storage, with_all("old"))
    assert [found(storage, query(f"old{field}")) for field in fields] == [["a"]] * 4
    put(storage, with_all("new"))
    assert [found(storage, query(f"old{field}")) for field in fields] == [[]] * 4
    assert [found(storage, query(f"new{field}")) for field in fields] == [["a"]] * 4


@pytest.mark.parametrize("field", ["title", "summary", "tags", "body"])
def test_one_field_can_change_alone(storage: Storage, field: str) -> None:
    def with_one(word: str) -> Entry:
        texts = {"title": "t", "summary": "s", "body": "b"}
        tags = (word,) if field == "tags" else ("g",)
        return entry(**{**texts, **({} if field == "tags" else {field: word})}, tags=tags)

    put(storage, with_one("old"))
    put(storage, with_one("new"))

    assert found(storage, query("old")) == []
    assert found(storage, query("new")) == ["a"]


def test_what_is_deleted_is_not_found(storage: Storage) -> None:
    for entry_id in ("a", "b"):
        write(storage, "kb", entry_id, "ash")
    write(storage, "other", "c", "ash")
    delete(storage, "kb", "a")
    assert found(storage, query("ash")) == ["b", "other:c"]
    storage.remove_kb("kb", now=1.0)
    assert found(storage, query("ash")) == ["other:c"]
    storage.add_kb("kb", "/folder/kb", now=2.0)
    assert found(storage, query("ash")) == ["other:c"]
    write(storage, "kb", "a", "birch")
    assert found(storage, query("ash")) == ["other:c"]
    assert found(storage, query("birch")) == ["a"]


def test_a_write_that_fails_is_not_found(storage: Storage) -> None:
    write(storage, "kb", "a", "ash")

    def interrupted() -> None:
        with storage.writing() as writing:
            writing.upsert([record("kb", entry("a", "birch"))], priority=BULK, now=1.0)
            writing.delete("kb", ["a"], now=1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert found(storage, query("birch")) == []
    assert found(storage, query("ash")) == ["a"]


# What


def test_one_word_is_enough_but_every_phrase_is_required(storage: Storage) -> None:
    put(
        storage,
        entry("both", "the silver birch and the mountain ash"),
        entry("first", "one silver birch"),
        entry("second", "a mountain ash"),
        entry("apart", "birch of silver, ash of a mountain"),
        entry("none", "nothing of the kind", title="Oak"),
    )

    assert set(found(storage, query("silver", "mountain"))) == {"both", "first", "second", "apart"}
    assert set(found(storage, query(phrases=["silver birch"]))) == {"first", "both"}
    assert found(storage, query(phrases=["silver birch", "mountain ash"])) == ["both"]
    assert found(storage, query(phrases=["birch silver"])) == []
    assert set(found(storage, query("ash", phrases=["silver birch"]))) == {"both", "first"}
    assert set(found(storage, query("oak", phrases=["silver birch"]))) == {"first", "both"}
    assert found(storage, query("silver", phrases=["no such thing"])) == []


def test_a_phrase_stands_in_one_field(storage: Storage) -> None:
    put(storage, entry("a", "birch", title="silver"), entry("b", "x", title="silver birch"))

    assert found(storage, query(phrases=["silver birch"])) == ["b"]


def test_several_words_of_one_phrase_may_be_a_word(storage: Storage) -> None:
    write(storage, "kb", "a", "an on-line text")
    write(storage, "kb", "b", "a line that is on")

    assert found(storage, query("on-line")) == ["a"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("connected", "connecting"),
        ("connecting", "connected"),
        ("Connects", "CONNECT"),
        ("café", "cafe"),
        ("cafe", "CAFÉ"),
        ("cafe\u0301", "café"),
        ("naïvete\u0301", "NAIVETE"),
        ("дом", "ДОМ"),
        ("no_such", "such"),
        ("x=1;y2", "y2"),
        ("(ash)", "ash"),
        ("ash", "«ash»"),
        ("é", "e"),
    ],
)
def test_words_are_compared_by_what_they_mean(storage: Storage, text: str, word: str) -> None:
    write(storage, "kb", "a", text)
    write(storage, "kb", "b", "something else")

    assert found(storage, query(word)) == ["a"]


@pytest.mark.parametrize("text", ["ashen", "wash", "a s h"])
def test_parts_of_words_are_not_words(storage: Storage, text: str) -> None:
    write(storage, "kb", "a", text)

    assert found(storage, query("ash")) == []


ODD = [
    *("AND", "OR", "NOT", "NEAR", "NEAR(ash birch)", "title:ash", "body : ash", "-ash", "+ash"),
    *("^ash", "ash*", "{title body}: ash", '"', '""', '"ash', 'ash"', "'", "' OR 1=1 --", ";"),
    *(
        "\0",
        "ash\0birch",
        "\0ash",
        "\x02",
        "\x1a",
        "🪨",
        "ash🪨",
        "\U0010ffff",
        "",
        " ",
        "\n",
        "()",
    ),
    *(
        "(",
        ")",
        "*",
        "\\",
        "%",
        "_",
        "?",
        "?1",
        ":x",
        "$x",
        "@x",
        "#",
        "[z]",
        "a" * 5000,
        "-",
        "--",
    ),
]


@pytest.mark.parametrize("kind", ["word", "phrase", "both"])
def test_nothing_asked_for_is_an_error(storage: Storage, kind: str) -> None:
    write(storage, "kb", "a", "ash")
    write(storage, "kb", "b", "and or not near title body x")

    for odd in ODD:
        words = (odd,) if kind != "phrase" else ()
        phrases = (odd,) if kind != "word" else ()
        wanted = WordQuery(words, phrases)
        assert "a" not in found(storage, wanted) or "ash" in odd, odd
        for entry_id in ("a", "b", "c"):
            highlights(storage, "kb", entry_id, wanted)
    assert found(storage, WordQuery(tuple(ODD), ())) == ["a", "b"]


@pytest.mark.parametrize("odd", ["AND", "OR", "NOT", "NEAR"])
def test_an_operator_is_a_word(storage: Storage, odd: str) -> None:
    write(storage, "kb", "a", f"{odd} more")
    write(storage, "kb", "b", "ash birch")

    assert found(storage, query(odd)) == ["a"]
    assert found(storage, query("ash", odd, "birch")) == ["b", "a"]


def test_a_sign_among_words_takes_nothing_away(storage: Storage) -> None:
    write(storage, "kb", "a", "ash")

    assert found(storage, query("...", "ash", "🙂", "")) == ["a"]
    assert found(storage, query("...", phrases=["ash"])) == ["a"]


def test_no_words_find_nothing(storage: Storage) -> None:
    write(storage, "kb", "a", "ash")

    assert not query()
    assert found(storage, query()) == []
    assert highlights(storage, "kb", "a", query()) == []


def test_a_pasted_page_can_be_looked_for(storage: Storage) -> None:
    write(storage, "kb", "a", "word77 and word1999")
    words = tuple(f"word{number}" for number in range(2000))

    assert found(storage, WordQuery(words, ())) == ["a"]
    assert highlights(storage, "kb", "a", WordQuery(words, ())) == [(0, 6), (11, 19)]


# In which order


def test_rarer_words_more_of_them_and_titles_go_first(storage: Storage) -> None:
    filler = [entry(f"f{n}", "common filler text", title="Filler") for n in range(8)]
    put(
        storage,
        *filler,
        entry("rare", "rare text text", title="X"),
        entry("often", "twice twice text", title="X"),
        entry("once", "twice text text", title="X"),
        entry("short", "brief", title="X"),
        entry("long", "brief " + "and so on " * 30, title="X"),
        entry("in body", "named thing here", title="X"),
        entry("in title", "X thing here", title="named"),
    )

    assert found(storage, query("common", "rare"))[0] == "rare"
    assert found(storage, query("twice")) == ["often", "once"]
    # A word that is not required counts all the same.
    assert found(storage, query("rare", phrases=["text"]))[0] == "rare"
    assert found(storage, query("brief")) == ["short", "long"]
    assert found(storage, query("named")) == ["in title", "in body"]
    assert found(storage, query("rare", "twice", "twice"))[0] == "often"


def test_ties_are_in_order_of_knowledge_base_and_id(storage: Storage) -> None:
    storage.add_kb("a kb", "/folder/a", now=0.0)
    for kb, entry_id in (("other", "A"), ("kb", "b"), ("a kb", "z"), ("kb", "B"), ("kb", "a")):
        put(storage, entry(entry_id, "ash", title="same"), kb=kb)

    assert found(storage, query("ash")) == ["a kb:z", "B", "a", "b", "other:A"]


def test_pages_have_neither_gaps_nor_repetitions(storage: Storage) -> None:
    for number in range(23):
        put(storage, entry(f"{number:02}", "ash " * (number % 3 + 1), title="same"))
    whole = storage.with_words(query("ash"), limit=100)
    assert len(whole) == 23

    for size in (1, 2, 5, 23, 24):
        pages = [
            hit
            for offset in range(0, 30, size)
            for hit in storage.with_words(query("ash"), limit=size, offset=offset)
        ]
        assert pages == whole
    assert storage.with_words(query("ash"), limit=0) == []
    assert storage.with_words(query("ash"), limit=5, offset=100) == []
    filters = Filters(kbs=("other",))
    assert storage.with_words(query("ash"), filters, limit=5) == []


def test_filters_do_not_change_the_ranks(storage: Storage) -> None:
    for kb in ("kb", "other"):
        for number in range(5):
            put(storage, entry(str(number), "ash " * (number + 1) + "x " * 9, title=""), kb=kb)
    whole = storage.with_words(query("ash"), limit=100)

    for kb in ("kb", "other"):
        hits = storage.with_words(query("ash"), Filters(kbs=(kb,)), limit=100)
        assert hits == [hit for hit in whole if hit.kb == kb]


VOCABULARY = ("ash", "birch", "cedar", "elm", "fir")
TEXTS = st.lists(st.sampled_from((*VOCABULARY, "and")), max_size=8).map(" ".join)


@pytest.mark.repeats
def test_it_finds_what_is_there_whatever_is_written(opener: Opener) -> None:
    storage = opener()

    def contains(text: str, wanted: str) -> bool:
        return f" {wanted} " in f" {text} "

    @settings(
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        bodies=st.dictionaries(st.sampled_from("abcdefgh"), TEXTS, min_size=1),
        edits=st.dictionaries(st.sampled_from("abcdefgh"), st.none() | TEXTS),
        words=st.lists(st.sampled_from(VOCABULARY), max_size=3),
        phrases=st.lists(TEXTS.filter(bool), max_size=2),
    )
    def check(
        bodies: dict[str, str], edits: dict[str, str | None], words: list[str], phrases: list[str]
    ) -> None:
        storage.remove_kb("kb", now=0.0)
        storage.add_kb("kb", "/kb", now=0.0)
        put(storage, *(entry(name, body, title="") for name, body in bodies.items()))
        put(storage, *(entry(name, body, title="") for name, body in edits.items() if body))
        delete(storage, "kb", *(name for name, body in edits.items() if body is None))
        present = {**bodies, **{name: body for name, body in edits.items() if body}}
        present = {name: body for name, body in present.items() if edits.get(name, "") is not None}
        expected = {
            name
            for name, body in present.items()
            if all(contains(body, each) for each in phrases)
            and (phrases or any(contains(body, each) for each in words))
        }

        wanted = WordQuery(tuple(words), tuple(phrases))
        assert set(found(storage, wanted)) == expected
        for name in expected:
            covered = covered_by(present[name], [*words, *phrases])
            ranges = highlights(storage, "kb", name, wanted)
            assert {place for start, end in ranges for place in range(start, end)} == covered

    check()
    assert storage.problems() == {}


def covered_by(text: str, wanted: list[str]) -> set[int]:
    """The characters that a word or phrase covers, looked for in the plainest way."""
    padded = f" {text} "
    return {
        place
        for each in wanted
        for start in range(len(text))
        if padded.startswith(f" {each} ", start)
        for place in range(start, start + len(each))
    }


# Where


def marked(storage: Storage, text: str, wanted: WordQuery) -> list[str]:
    """What is highlighted of an entry's body, the ranges being in order and apart."""
    put(storage, entry("a", text))
    ranges = highlights(storage, "kb", "a", wanted)
    places = [place for both in ranges for place in both]
    assert places == sorted(places)
    return [text[start:end] for start, end in ranges]


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("ash", query("ash"), ["ash"]),
        ("Ash, birch; ASH!", query("ash"), ["Ash", "ASH"]),
        ("ash ash", query("ash"), ["ash", "ash"]),
        ("it connects all", query("connecting"), ["connects"]),
        ("🪨🪨 ash 🪨 birch😀 x", query("ash", "birch"), ["ash", "birch"]),
        ("\U00020000 ash \U00020000", query("ash"), ["ash"]),
        ("café and cafe\u0301 too", query("cafe"), ["café", "cafe\u0301"]),
        ("\x02ash\x02 \x02\x02 birch", query("ash", "birch"), ["ash", "birch"]),
        ("\x02" * 20 + "ash", query("ash"), ["ash"]),
        ("one\r\n\r\n\tash\r\nend", query("ash", "end"), ["ash", "end"]),
        ("a silver birch, a birch", query(phrases=["silver birch"]), ["silver birch"]),
        ("silver, BIRCH", query(phrases=["silver birch"]), ["silver, BIRCH"]),
        ("silver birch ash", query("silver", phrases=["silver birch"]), ["silver birch"]),
        ("a b a b a", query(phrases=["a b a"]), ["a b a b a"]),
        ("silver birch", query("silver", "birch"), ["silver", "birch"]),
        ("nothing here", query("ash"), []),
        ("ash here", query("ash", phrases=["no such"]), []),
        ("", query("ash"), []),
    ],
)
def test_highlights_are_exact(
    storage: Storage, text: str, wanted: WordQuery, expected: list[str]
) -> None:
    assert marked(storage, text, wanted) == expected


def test_highlights_are_of_the_body_alone(storage: Storage) -> None:
    put(storage, entry("a", "body text", title="ash", summary="ash", tags=("ash",)))

    assert found(storage, query("ash")) == ["a"]
    assert highlights(storage, "kb", "a", query("ash")) == []
    assert highlights(storage, "kb", "a", query("ash", "text")) == [(5, 9)]


def test_highlights_are_of_one_entry(storage: Storage) -> None:
    put(storage, entry("a", "ash"), entry("b", "an ash"))
    put(storage, entry("a", "one more ash"), kb="other")

    assert highlights(storage, "kb", "a", query("ash")) == [(0, 3)]
    assert highlights(storage, "kb", "b", query("ash")) == [(3, 6)]
    assert highlights(storage, "other", "a", query("ash")) == [(9, 12)]
    assert highlights(storage, "other", "b", query("ash")) == []
    assert highlights(storage, "nowhere", "a", query("ash")) == []
    write(storage, "kb", "a", "edited, ash")
    assert highlights(storage, "kb", "a", query("ash")) == [(8, 11)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    parts=st.lists(
        st.text(
            st.characters(exclude_categories=["Cs", "L", "M", "N", "Co", "Cn"]), max_size=4
        ).map(lambda text: f" {text} ".replace("\0", "")),
        max_size=6,
    )
)
def test_highlights_are_exact_among_any_signs(storage: Storage, parts: list[str]) -> None:
    text = "ash".join(parts)

    assert marked(storage, text, query("ash")) == ["ash"] * (len(parts) - 1)

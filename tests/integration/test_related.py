"""Related entries: near by their passages, without a model, and never by boilerplate alone."""

from __future__ import annotations

import pytest

from pyrite.errors import InvalidQueryError, NotFoundError
from pyrite.search.freshness import Freshness
from pyrite.search.related import RelatedResult, related
from pyrite.search.service import SearchService
from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import Filters
from pyrite.vault.entry_files import Draft, Edit
from tests.integration.hands import KB, Product, Words


class NoModel(Words):
    """The model in use, of which nothing but its fingerprint may be asked."""

    def load(self) -> None:
        raise AssertionError("no model is needed")

    encode = encode_query = tokenizer = load  # type: ignore[assignment]


def near(
    product: Product, entry_id: str, filters: Filters = EVERYTHING, limit: int = 10, kb: str = KB
) -> RelatedResult:
    neighbourhood = SearchService(product.storage, NoModel(), product.settings).nearest_entries()
    return related(product.storage, neighbourhood, (kb, entry_id), filters, limit)


def ids(result: RelatedResult) -> list[str]:
    return [hit.id for hit in result.hits]


def test_what_is_near_comes_first_and_the_entry_itself_does_not_come(product: Product) -> None:
    texts = {
        "a": "red green blue",
        "b": "red green",
        "c": "blue",
        "d": "else",
        "e": "red green blue",
    }
    product.fill({name: f"# {name}{name}\n\n{text}\n" for name, text in texts.items()})
    product.drain(Words())
    result = near(product, "a")
    assert ids(result) == ["e", "b", "c", "d"]
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert (result.kb, result.id, result.embedded) == (KB, "a", Freshness.FRESH)
    best = result.hits[0]
    assert (best.kb, best.title, best.freshness) == (KB, "ee", Freshness.FRESH)
    assert best.passage.text == "# ee red green blue"
    assert best.score == pytest.approx(3 / 4, abs=1e-3)
    assert ids(near(product, "a", limit=2)) == ["e", "b"]


def long_text(subject: str, paragraphs: int = 6) -> str:
    """Paragraphs of 40 words each, all of one subject."""
    return "\n\n".join(
        " ".join(f"{subject}{word}x{number % 3}" for word in range(40))
        for number in range(paragraphs)
    )


def test_boilerplate_in_common_does_not_win(product: Product) -> None:
    licence = "# Licence\n\n" + " ".join(f"licence{word}" for word in range(40))
    product.fill(
        {
            "a": f"---\ntitle: Title\n---\n{long_text('red')}\n\n{licence}\n",
            "same-licence": f"---\ntitle: Title\n---\n{long_text('blue')}\n\n{licence}\n",
            "same-subject": f"---\ntitle: Other\n---\n{long_text('red')}\n",
            **{f"n{n}": f"# n{n}\n\n{long_text(f'n{n}')}\n" for n in range(5)},
        }
    )
    product.drain(Words())
    digests = product.query(
        "SELECT embedding_id FROM chunks WHERE entry_id IN ('a', 'same-licence')"
        " GROUP BY 1 HAVING count(DISTINCT entry_id) = 2"
    )
    assert len(digests) == 1  # the very same passage
    assert ids(near(product, "a"))[:2] == ["same-subject", "same-licence"]


def test_only_such_entries_as_are_asked_for(product: Product) -> None:
    product.add_kb("other")
    product.fill({"a": "red", **{f"n{n:02}": f"red green {n}" for n in range(70)}})
    product.fill(
        {"x": "---\ntype: log\ntags: [t]\n---\nred far away", "y": "blue", "a": "red"}, "other"
    )
    product.drain(Words())
    everything = near(product, "a", limit=100)
    assert len(everything.hits) == 73
    assert (everything.hits[0].kb, everything.hits[0].id) == ("other", "a")
    elsewhere = near(product, "a", Filters(kbs=("other",)))
    assert [(hit.kb, hit.id) for hit in elsewhere.hits] == [
        *(("other", "a"), ("other", "x"), ("other", "y")),
    ]
    here = near(product, "a", Filters(kbs=(KB,)), kb="other", limit=1)
    assert [(hit.kb, hit.id) for hit in here.hits] == [(KB, "a")]
    for filters in (
        Filters(types=("log",)),
        Filters(tags=("t",)),
        Filters(kbs=("other",), tags=("t",)),
    ):
        assert ids(near(product, "a", filters)) == ["x"]
    assert ids(near(product, "a", Filters(types=("none",)))) == []


def test_an_entry_that_is_not_embedded_has_none_and_says_so(product: Product) -> None:
    product.fill({"a": "red", "b": "red green"})
    product.drain(Words())
    product.kbs.create_entry(KB, Draft("New", body="red"))
    result = near(product, "new")
    assert (result.embedded, result.hits) == (Freshness.MISSING, ())
    assert result.freshness.pending == 1
    assert ids(near(product, "a")) == ["b"]  # and is not found as one, either
    product.kbs.update_entry(KB, "a", Edit(body="something else"))
    product.kbs.update_entry(KB, "b", Edit(body="green"))
    result = near(product, "a")
    assert (result.embedded, ids(result)) == (Freshness.STALE, ["b"])
    assert (result.hits[0].freshness, result.freshness.pending) == (Freshness.STALE, 3)


def test_what_another_model_embedded_is_not_compared(product: Product) -> None:
    product.fill({"a": "red", "b": "red green"})
    product.drain(Words("other"))
    assert near(product, "a").embedded is Freshness.MISSING
    product.embedding.embed_entry(Words(), KB, "a")
    result = near(product, "a")
    assert (result.embedded, result.hits) == (Freshness.FRESH, ())


def test_of_a_very_long_entry_passages_from_all_of_it_speak(product: Product) -> None:
    filler = "\n\n".join(long_text(f"f{n}", 1) for n in range(150))
    product.fill({"a": f"{filler}\n\n{long_text('red', 3)}", "b": long_text("red", 3), "c": "else"})
    product.drain(Words())
    ((passages,),) = product.query("SELECT count(*) FROM chunks WHERE entry_id = 'a'")
    assert isinstance(passages, int)
    assert passages > 128
    assert ids(near(product, "a"))[0] == "b"


def test_what_is_not_there_or_cannot_be_asked_is_refused(product: Product) -> None:
    product.fill({"a": "red"})
    with pytest.raises(NotFoundError, match="there is no entry 'none' in 'notes'"):
        near(product, "none")
    for limit in (0, 1001):
        with pytest.raises(InvalidQueryError, match="limit must be"):
            near(product, "a", limit=limit)
    with pytest.raises(InvalidQueryError, match="since must be a day"):
        near(product, "a", Filters(since="x"))

"""Search requests: the words of a query, the modes, and the limits of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from pyrite.errors import InvalidQueryError
from pyrite.knowledge.filters import check_filters, check_text
from pyrite.storage.records import Filters, WordQuery

MOST_HITS = 1000
MOST_QUERY_CHARACTERS = 10_000
#: Of a very long text, so many words are looked for: the first ones.
MOST_WORDS = 200

_PHRASE = re.compile(r'"([^"]*)"')
#: With accents that are characters of their own, as a Mac writes them.
_WORD = re.compile(r"\w[\w\u0300-\u036f]*")

_COMMON = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
    her hers herself it its itself they them their theirs themselves what which who whom this that
    these those am is are was were be been being have has had having do does did doing would should
    could ought a an the and but if or because as until while of at by for with about against
    between into through during before after above below to from up down in out on off over under
    again further then once here there when where why how all any both each few more most other
    some such no nor not only own same so than too very
"""
#: Words that stand in nearly every English text: they say nothing, and make a query slow. The
#: list is that of the Snowball project, without its contractions.
STOP_WORDS = frozenset(_COMMON.split())

#: In a longer query, quotation marks are those of a text, not of a person who asks for a phrase.
_MOST_WORDS_AROUND_PHRASES = 16


class Mode(StrEnum):
    """What is compared."""

    #: Both, fused.
    HYBRID = "hybrid"
    #: Meaning alone.
    SEMANTIC = "semantic"
    #: Words alone; needs no model.
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What to search for, where, and how many to find."""

    query: str
    mode: Mode = Mode.HYBRID
    filters: Filters = field(default_factory=Filters)
    limit: int = 10
    #: How many of the best to leave out: the next page begins there.
    offset: int = 0
    #: Do not answer before this write can be found by meaning, or the time is over.
    wait_for: int | None = None
    timeout_s: float = 10.0

    def check(self) -> None:
        """Refuse what cannot be searched for.

        Raises:
            InvalidQueryError: the message says what to change.
        """
        if not self.query.strip():
            raise InvalidQueryError(
                "the query is empty: say in a few words what you look for", field="q"
            )
        if len(self.query) > MOST_QUERY_CHARACTERS:
            raise InvalidQueryError(
                f"the query has {len(self.query):,} characters, more than "
                f"{MOST_QUERY_CHARACTERS:,}; a few words or a paragraph find more"
            )
        check_text("the query", self.query)
        if not self.timeout_s >= 0:  # neither is what is no number
            raise InvalidQueryError(f"the time-out must be 0 seconds or more, not {self.timeout_s}")
        check_page(self.limit, self.offset)
        check_filters(self.filters)


def check_page(limit: int, offset: int) -> None:
    """Refuse a page that there cannot be.

    Raises:
        InvalidQueryError: the limit or the offset is out of range.
    """
    if not 1 <= limit <= MOST_HITS:
        raise InvalidQueryError(
            f"the limit must be from 1 to {MOST_HITS}, not {limit}", field="limit"
        )
    if not 0 <= offset <= MOST_HITS - limit:
        raise InvalidQueryError(
            f"the offset must be from 0 to {MOST_HITS - limit}, not {offset}: "
            f"limit and offset together reach to {MOST_HITS}",
            field="offset",
        )


def words_of(query: str) -> WordQuery:
    """The words and the "quoted phrases" of a query.

    A word that is repeated counts so many times: whoever pastes a paragraph says its subject
    more than once. Words that stand in nearly every text are left out where there are others.
    A query without any letter or digit has no words: nothing contains it.
    """
    unquoted = _WORD.findall(_PHRASE.sub(" ", query))
    quoted = [_WORD.findall(phrase) for phrase in _PHRASE.findall(query)]
    if len(unquoted) > _MOST_WORDS_AROUND_PHRASES:
        unquoted, quoted = _WORD.findall(query), []
    phrases = tuple(dict.fromkeys(" ".join(words) for words in quoted if words))
    telling = [word for word in unquoted if word.lower() not in STOP_WORDS]
    words = telling or ([] if phrases else unquoted)
    return WordQuery(tuple(words[:MOST_WORDS]), phrases[:MOST_WORDS])

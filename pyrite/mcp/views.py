"""What the services answer, as what the tools answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyrite.api.entry_json import entry_dict
from pyrite.markdown.outline import Leaf, outline
from pyrite.mcp.executor import uri_of
from pyrite.mcp.models import (
    EntryInfo,
    EntryText,
    HeadingInfo,
    HitInfo,
    LinkInfo,
    LinksAnswer,
    PassageInfo,
    PendingInfo,
    ProblemInfo,
    RelatedAnswer,
    Renamed,
    SearchAnswer,
    SyncCounts,
    SyncInfo,
    WaitedInfo,
    Written,
)

if TYPE_CHECKING:
    from pyrite.embedding.fallback import WriteOutcome
    from pyrite.knowledge.service import WriteResult
    from pyrite.search.excerpts import Excerpt
    from pyrite.search.freshness import Pending
    from pyrite.search.links import FoundLink
    from pyrite.search.related import RelatedHit, RelatedResult
    from pyrite.search.service import Hit, SearchResult
    from pyrite.storage.records import StoredEntry
    from pyrite.vault.sync import SyncResult

#: Ids and problems of one sync, of each kind, that are told.
_TOLD = 50

#: Headings of a long body that are told.
_HEADINGS = 200

#: A model has no use for more.
_DIGITS = 4


def search_answer(result: SearchResult, told: Callable[[str], str]) -> SearchAnswer:
    """What was found, without what only a screen needs."""
    waited = result.waited
    return SearchAnswer(
        query=result.query,
        mode=result.mode.value,
        hits=[_hit(hit) for hit in result.hits],
        more=result.more,
        freshness=_pending(result.freshness),
        waited=None
        if waited is None
        else WaitedInfo(
            revision=waited.revision,
            outcome=waited.outcome.value,
            seconds=round(waited.seconds, _DIGITS),
        ),
        warning=None if result.warning is None else told(result.warning),
    )


def related_answer(result: RelatedResult) -> RelatedAnswer:
    """What is near an entry."""
    return RelatedAnswer(
        kb=result.kb,
        id=result.id,
        embedded=result.embedded.value,
        hits=[_near(hit) for hit in result.hits],
        freshness=_pending(result.freshness),
    )


def links_answer(
    links: list[FoundLink], backlinks: list[FoundLink], limit: int, offset: int
) -> LinksAnswer:
    """Of both lists, the part from ``offset``."""
    end = offset + limit
    return LinksAnswer(
        links=[_link(each) for each in links[offset:end]],
        backlinks=[_link(each) for each in backlinks[offset:end]],
        more=max(len(links), len(backlinks)) > end,
    )


def _link(found: FoundLink) -> LinkInfo:
    return LinkInfo(
        kb=found.kb,
        id=found.entry_id,
        kind=found.link.kind.value,
        target=found.link.target,
        fragment=found.link.fragment or None,
        line=found.line,
        state=found.leads_to.state.value,
        leads_to=list(found.leads_to.ids),
    )


def _hit(hit: Hit) -> HitInfo:
    return HitInfo(
        kb=hit.kb,
        id=hit.id,
        title=hit.title,
        type=hit.type,
        tags=list(hit.tags),
        score=round(hit.score, _DIGITS),
        semantic=_rounded(hit.scores.semantic),
        keyword=_rounded(hit.scores.keyword),
        passage=_passage(hit.passage),
        freshness=hit.freshness.value,
        revision=hit.revision,
    )


def _near(hit: RelatedHit) -> HitInfo:
    return HitInfo(
        kb=hit.kb,
        id=hit.id,
        title=hit.title,
        score=round(hit.score, _DIGITS),
        semantic=round(hit.score, _DIGITS),
        keyword=None,
        passage=_passage(hit.passage),
        freshness=hit.freshness.value,
    )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, _DIGITS)


def _passage(found: Excerpt) -> PassageInfo:
    return PassageInfo(
        text=found.text, headings=list(found.headings), start=found.start, end=found.end
    )


def _pending(freshness: Pending) -> PendingInfo:
    age = freshness.oldest_pending_age_s
    return PendingInfo(
        pending=freshness.pending,
        failed=freshness.failed,
        oldest_pending_age_s=None if age is None else round(age, 1),
    )


def entry_info(stored: StoredEntry) -> EntryInfo:
    """An entry without its body."""
    return EntryInfo(**_entry(stored))


def _entry(stored: StoredEntry) -> dict[str, Any]:
    return {**entry_dict(stored), "uri": uri_of(stored.kb, stored.entry.id)}


def entry_text(stored: StoredEntry, start: int, end: int, most: int) -> EntryText:
    """An entry with the part of its body from ``start``, to ``end`` or as far as there is room."""
    body = stored.entry.body
    start, end = min(start, len(body)), min(end, len(body))
    last = cut(body, start, end, most)
    whole = (start, last) == (0, len(body))
    return EntryText(
        **_entry(stored),
        body=body[start:last],
        start=start,
        end=last,
        characters=len(body),
        more=last < len(body),
        headings=[] if whole else headings(body)[:_HEADINGS],
    )


def cut(body: str, start: int, end: int, most: int) -> int:
    """Where a part of a body ends that is no longer than so: at the end of a line if it can."""
    if end - start <= most:
        return end
    line_end = body.rfind("\n", start, start + most)
    return start + most if line_end <= start else line_end + 1


def headings(body: str) -> list[HeadingInfo]:
    """The headings of a body, in order."""
    return [
        HeadingInfo(title=leaf.headings[-1], level=leaf.heading, start=leaf.start)
        for leaf in _headings(body)
    ]


def section(body: str, title: str) -> tuple[int, int] | None:
    """The range of the first section under a heading of that title, its own sections included."""
    found = _headings(body)
    wanted = title.strip().lstrip("#").strip().lower()
    for place, leaf in enumerate(found):
        if leaf.headings[-1].lower() == wanted:
            after = (each.start for each in found[place + 1 :] if each.heading <= leaf.heading)
            return leaf.start, next(after, len(body))
    return None


def _headings(body: str) -> list[Leaf]:
    return [leaf for leaf in outline(body) if leaf.heading]


def written(result: WriteResult, outcome: WriteOutcome, told: Callable[[str], str]) -> Written:
    """A write, and what became of it."""
    return Written(
        kb=result.kb,
        id=result.id,
        uri=uri_of(result.kb, result.id),
        revision=result.revision,
        changed=result.changed,
        embedding=outcome.embedding.value,
        warning=None if outcome.warning is None else told(outcome.warning),
    )


def sync_info(result: SyncResult) -> SyncInfo:
    """What a sync found; of long lists, the beginning."""
    return SyncInfo(
        kb=result.kb,
        created=result.created[:_TOLD],
        updated=result.updated[:_TOLD],
        renamed=[
            Renamed.model_validate({"from": old, "to": new}) for old, new in result.renamed[:_TOLD]
        ],
        deleted=result.deleted[:_TOLD],
        unchanged=result.unchanged,
        problems=[
            ProblemInfo(path=each.path, line=each.line, reason=each.reason)
            for each in result.problems[:_TOLD]
        ],
        counts=SyncCounts(
            created=len(result.created),
            updated=len(result.updated),
            renamed=len(result.renamed),
            deleted=len(result.deleted),
            problems=len(result.problems),
        ),
    )

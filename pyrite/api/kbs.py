"""Knowledge bases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType

from pyrite.api.base import Answer, LocalPath, Time, doc

if TYPE_CHECKING:
    from pyrite.embedding.service import EmbeddingService
    from pyrite.knowledge.service import KBService
    from pyrite.storage.records import KnowledgeBase

Name = Annotated[str, doc("Its name.", "notes")]


class KB(Answer, frozen=True):
    """A knowledge base and the state of its entries."""

    name: Name
    added_at: Time
    entries: Annotated[int, doc("All entries.", 3)]
    embedded: Annotated[int, doc("Those whose present text is embedded.", 2)]
    pending: Annotated[int, doc("Those still to be embedded.", 1)]
    failed: Annotated[int, doc("Those that could not be embedded.", 0)]
    coverage: Annotated[float, doc("The share that is embedded, rounded down.", 0.6666, ge=0, le=1)]
    unavailable: Annotated[
        str | None,
        doc("Why its files cannot be reached: its entries are found, and writes refused."),
    ]
    path: LocalPath = UNSET


class KBs(Answer, frozen=True):
    """All knowledge bases by name."""

    kbs: list[KB]


class KBFolder(Answer, frozen=True):
    """A knowledge base that was registered or forgotten."""

    name: Name
    path: LocalPath = UNSET
    overlaps: (
        Annotated[list[str], doc("Those whose folder lies in this one, or this one in theirs.")]
        | UnsetType
    ) = UNSET


def kb(
    known: KnowledgeBase, kbs: KBService, embedding: EmbeddingService, *, local: bool = False
) -> KB:
    """A knowledge base and the state of its entries; its folder for those at this computer."""
    # Imported only here: the types alone are light.
    from pyrite.embedding.service import coverage  # noqa: PLC0415

    counts = embedding.counts(known.name)
    return KB(
        name=known.name,
        added_at=known.added_at,
        entries=counts.total,
        embedded=counts.done,
        pending=counts.unfinished,
        failed=counts.failed,
        coverage=coverage(counts),
        unavailable=kbs.unavailable(known),
        path=known.path if local else UNSET,
    )

"""Knowledge bases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, Meta, UnsetType

from pyrite.api.base import Answer, LocalPath, Time

if TYPE_CHECKING:
    from pyrite.embedding.service import EmbeddingService
    from pyrite.storage.records import KnowledgeBase

Name = Annotated[str, Meta(description="Its name.", examples=["notes"])]


class KB(Answer, frozen=True, kw_only=True):
    """A knowledge base and the state of its entries."""

    name: Name
    added_at: Time
    entries: Annotated[int, Meta(description="All entries.", examples=[3])]
    embedded: Annotated[
        int, Meta(description="Those whose present text is embedded.", examples=[2])
    ]
    pending: Annotated[int, Meta(description="Those still to be embedded.", examples=[1])]
    failed: Annotated[int, Meta(description="Those that could not be embedded.", examples=[0])]
    coverage: Annotated[
        float,
        Meta(
            ge=0, le=1, description="The share that is embedded, rounded down.", examples=[0.6666]
        ),
    ]
    path: LocalPath = UNSET


class KBs(Answer, frozen=True, kw_only=True):
    """All knowledge bases by name."""

    kbs: list[KB]


class KBFolder(Answer, frozen=True, kw_only=True):
    """A knowledge base that was registered or forgotten."""

    name: Name
    path: LocalPath = UNSET
    overlaps: (
        Annotated[
            list[str],
            Meta(description="Those whose folder lies in this one, or this one in theirs."),
        ]
        | UnsetType
    ) = UNSET


def kb(known: KnowledgeBase, embedding: EmbeddingService, *, local: bool = False) -> KB:
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
        path=known.path if local else UNSET,
    )

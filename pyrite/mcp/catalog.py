"""Which tools there are, who may call them, and what they do to the world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from mcp_types import ToolAnnotations

from pyrite.auth.tokens import Tier

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "_pyrite_tool"


@dataclass(frozen=True, slots=True)
class Listing:
    """What is said of a tool beside its name, parameters and answer."""

    title: str
    tier: Tier
    #: Whether it may overwrite or delete something.
    destructive: bool = False
    #: Whether doing it again changes nothing more.
    idempotent: bool = False

    @property
    def annotations(self) -> ToolAnnotations:
        """The protocol's hints. No tool reaches beyond this computer's knowledge bases."""
        reads = self.tier is Tier.READ
        return ToolAnnotations(
            title=self.title,
            read_only_hint=reads,
            destructive_hint=self.destructive,
            idempotent_hint=reads or self.idempotent,
            open_world_hint=False,
        )


def tool(
    title: str, tier: Tier, *, destructive: bool = False, idempotent: bool = False
) -> Callable[[Method], Method]:
    """Mark a method as a tool; its name is the tool's, and its docstring tells the model of it."""

    def mark(method: Method) -> Method:
        setattr(method, _MARK, Listing(title, tier, destructive, idempotent))
        return method

    return mark


def tools_of(group: object) -> Iterator[tuple[Callable[..., Any], Listing]]:
    """The tools among an object's methods, as they stand in its class."""
    for name, method in vars(type(group)).items():
        listing = getattr(method, _MARK, None)
        if isinstance(listing, Listing):
            yield getattr(group, name), listing

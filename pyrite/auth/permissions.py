"""The permission that a view needs: an attribute that authentication reads."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from pyrite.auth.tokens import Tier

View = TypeVar("View", bound=Callable[..., Any])


class Permission(Enum):
    """What a view is marked as that takes no tier."""

    #: Open to anybody.
    PUBLIC = "public"
    #: It says nothing, and is open to nobody.
    UNMARKED = "unmarked"


def requires(tier: Tier) -> Callable[[View], View]:
    """Declare a view open to tokens of this tier and above."""

    def mark(view: View) -> View:
        view.tier = tier  # type: ignore[attr-defined]
        return view

    return mark


def public(view: View) -> View:
    """Declare a view open to anybody, token or not."""
    view.tier = Permission.PUBLIC  # type: ignore[attr-defined]
    return view


def unmetered(view: View) -> View:
    """Declare a view that may be called any number of times."""
    view.unmetered = True  # type: ignore[attr-defined]
    return view


def own_body(view: View) -> View:
    """Declare a view after which the request's body is still to be read, by somebody else."""
    view.own_body = True  # type: ignore[attr-defined]
    return view


def tier_of(view: Callable[..., Any]) -> Tier | Permission:
    """What it takes to call a view."""
    tier: Tier | Permission = getattr(view, "tier", Permission.UNMARKED)
    return tier


def metered(view: Callable[..., Any] | None) -> bool:
    """Whether calls of a view count towards its caller's rate."""
    return not getattr(view, "unmetered", False)


def has_own_body(view: Callable[..., Any] | None) -> bool:
    """Whether a view leaves the body of its requests unread."""
    return getattr(view, "own_body", False)

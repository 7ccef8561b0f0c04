"""Anchors and aliases of YAML, resolved within bounds.

PyYAML, and whatever writes with it, gives a value an anchor (`&id001`) wherever it occurs twice,
and an alias (`*id001`) in the second place; so they are ordinary in real front matter. An alias
stands for all of its anchor's value, another alias in it included, so a few lines can mean more
than a memory holds: what they stand for is counted before anything is built.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

#: What front matter may hold once each alias is what it stands for: characters of its scalars,
#: and one more for each value.
MAX_EXPANDED: Final = 256 * 1024

MERGE_TAG: Final = "tag:yaml.org,2002:merge"


class AliasError(ValueError):
    """An alias that cannot be resolved; the message says why."""


@dataclass(slots=True)
class _Open:
    """A value whose events go on."""

    anchor: str | None
    size: int = 1
    #: How many levels of collections it has, itself included.
    height: int = 1


@dataclass(slots=True)
class Expansion:
    """What a stream of events amounts to once its aliases are resolved."""

    #: Whether there is an alias, or an anchor that is set twice, which not every parser allows.
    needed: bool = False
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)

    @property
    def height(self) -> int:
        """How many levels the collections that are open have so far, the outermost included."""
        return max((at + each.height for at, each in enumerate(self._open)), default=0)

    def take(self, event: yaml.Event) -> None:
        """Count one event.

        Raises:
            AliasError: an alias of nothing, of what it stands in, or of too much.
        """
        if isinstance(event, yaml.AliasEvent):
            self.needed = True
            if any(each.anchor == event.anchor for each in self._open):
                raise AliasError(f"the alias *{event.anchor} stands in what it stands for")
            if event.anchor not in self._sizes:
                raise AliasError(f"the alias *{event.anchor} has no anchor above it")
            self._add(*self._sizes[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            self._named(event.anchor, len(event.value) + 1, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append(_Open(event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._open.pop()
            self._named(closed.anchor, closed.size, closed.height)

    def _named(self, anchor: str | None, size: int, height: int) -> None:
        if anchor is not None:
            self.needed |= anchor in self._sizes
            self._sizes[anchor] = size, height
        self._add(size, height)

    def _add(self, size: int, height: int) -> None:
        if size > MAX_EXPANDED:
            raise AliasError(f"its aliases stand for more than {MAX_EXPANDED:,} characters")
        if self._open:
            around = self._open[-1]
            around.size += size
            around.height = max(around.height, height + 1)


class _AliasLoader(yaml.SafeLoader):
    """A loader whose tree has a node of its own in each place of an alias.

    That node says where the alias stands, and shares what is in it with the anchor's.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if not self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            self.anchors.pop(event.anchor, None)
            return super().compose_node(parent, index)
        event = self.get_event()  # type: ignore[no-untyped-call]
        node = copy.copy(self.anchors[event.anchor])
        node.start_mark, node.end_mark = event.start_mark, event.end_mark
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = True  # it stands within a line, as an alias does
        return node


def compose(front: str) -> yaml.Node | None:
    """Return the tree of a text that :class:`Expansion` has found nothing wrong with."""
    node: yaml.Node | None = yaml.compose(front, Loader=_AliasLoader)
    return node


def is_merge(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether a pair is `<<`, by which a mapping takes over the pairs of others."""
    return key.tag == MERGE_TAG and all(
        isinstance(each, yaml.MappingNode) for each in _merged(value)
    )


def _merged(value: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(value, yaml.SequenceNode):
        yield from value.value
    else:
        yield value

"""Changing front matter without touching what was not changed.

YAML's nodes know where they stand in the text, so a new value replaces exactly the old one's
characters; order, comments, quoting, spacing and line ends around it stay as they are. A block
collection's own end mark lies beyond the comments and blank lines that follow it, so its end
is that of its last leaf.

Each change proposes candidates, the least intrusive first. One is taken only if it reads back
as exactly what is wanted; the last rewrites the whole front matter. So a wrong guess about
YAML's syntax costs a comment, never a value.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import yaml

from pyrite.errors import InvalidEntryError
from pyrite.markdown.entry import JSON, OWN_FIELDS
from pyrite.markdown.frontmatter import FrontMatterError, Parts, compose, parse, split
from pyrite.markdown.yaml_text import block, checked, flow, resolved

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


#: Beyond this many changes, front matter that defeats the first attempt is written anew.
_MAX_SINGLE_STEPS = 50


class _Splice(NamedTuple):
    """Characters to be replaced."""

    start: int
    stop: int
    text: str


class _Tree:
    """A front matter's text with its nodes, and where each key is."""

    def __init__(self, parts: Parts) -> None:
        self.front = parts.front
        self.newline = parts.newline
        self.root = compose(parts.front)
        self.places: dict[str, list[tuple[yaml.Node, yaml.Node]]] = {}
        for key, value in self.root.value if self.root else ():
            self.places.setdefault(key.value, []).append((key, value))
        #: Where the keys begin, in order.
        self.starts = [key.start_mark.index for key, _ in self.root.value] if self.root else []


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to become of one field."""

    name: str
    old: JSON
    new: JSON
    removed: bool = False

    def ways(self, tree: _Tree) -> Iterator[list[_Splice]]:
        """Propose how to make the change, the least intrusive way first."""
        front, root, places = tree.front, tree.root, tree.places.get(self.name, [])
        lines = _lines(block({self.name: self.new}), tree.newline, _column(root))
        if root is not None and root.flow_style:
            if places and not self.removed:
                yield [_value_splice(front, places[-1][1], flow(self.new))]
        elif self.removed:
            yield [_line_splice(front, key, _end(front, value)) for key, value in places]
            # A comment or blank line below may now be text of the value above: it goes too.
            yield [_line_splice(front, key, _before_next(tree, key)) for key, _ in places]
        elif places:
            key, node = places[-1]
            yield [_restyled(front, key, node, self, tree.newline)]
            yield [_line_splice(front, key, _end(front, node), lines)]
        else:
            yield [_Splice(len(front), len(front), lines)]


def edit(text: str, changes: Mapping[str, JSON], removals: Collection[str] = ()) -> str:
    """Return the text with some front-matter fields set and others removed.

    A field that has the wanted value already keeps its bytes; a new one is added at the end;
    a text without front matter gets some if there is anything to say.

    Raises:
        FrontMatterError: the present front matter cannot be read.
        InvalidEntryError: a value cannot be written, or there would be too much of it.
    """
    parts = split(text)
    present = parse(parts.front, first_line=2)
    steps = list(_steps(present, changes, removals))
    if not steps:
        return text
    if not parts.opening:
        parts = _with_empty_front_matter(parts)
    wanted = _after(present, steps)
    if done := _at_once(parts, steps, wanted):
        return str(done)
    anew = _anew(parts, wanted)
    if len(steps) > _MAX_SINGLE_STEPS:
        return str(anew)
    for step in steps:
        present = _after(present, [step])
        parts = _one_step(parts, step, present)
    return str(parts)


def same(one: JSON, other: JSON) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are three values."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _steps(
    present: Mapping[str, JSON], changes: Mapping[str, JSON], removals: Collection[str]
) -> Iterator[_Change]:
    for name in dict.fromkeys(removals):
        if name in present and name not in changes:
            yield _Change(name, present[name], None, removed=True)
    for name, given in changes.items():
        value = checked(name, given)
        if name in OWN_FIELDS:
            value = [_text(item) for item in value] if isinstance(value, list) else _text(value)
        if name not in present or not same(present[name], value):
            yield _Change(name, present.get(name), value)


def _after(present: Mapping[str, JSON], steps: Sequence[_Change]) -> dict[str, JSON]:
    removed = {step.name for step in steps if step.removed}
    kept = {name: value for name, value in present.items() if name not in removed}
    return {**kept, **{step.name: step.new for step in steps if not step.removed}}


def _text(value: JSON) -> JSON:
    """Return the text that a number is read as where text is meant."""
    return str(value) if isinstance(value, (bool, int, float)) else value


def _with_empty_front_matter(parts: Parts) -> Parts:
    newline = "\r\n" if parts.rest.partition("\n")[0].endswith("\r") else "\n"
    fence = f"---{newline}"
    return replace(parts, opening=fence, closing=fence, rest=parts.rest and newline + parts.rest)


def _at_once(parts: Parts, steps: Sequence[_Change], wanted: Mapping[str, JSON]) -> Parts | None:
    """Take every change's first way together, so that many fields are read back once."""
    tree = _Tree(parts)
    splices: list[_Splice] = []
    for step in steps:
        way = next(step.ways(tree), None)
        if way is None:
            return None
        splices += way
    return _if_right(parts, _applied(parts.front, splices), wanted)


def _one_step(parts: Parts, step: _Change, wanted: Mapping[str, JSON]) -> Parts:
    for way in step.ways(_Tree(parts)):
        if right := _if_right(parts, _applied(parts.front, way), wanted):
            return right
    return _anew(parts, wanted)


def _anew(parts: Parts, wanted: Mapping[str, JSON]) -> Parts:
    """Write the whole front matter, without what it had of comments."""
    front = _lines(block(wanted), parts.newline) if wanted else ""
    if right := _if_right(parts, front, wanted):
        return right
    try:
        parse(front)
    except FrontMatterError as error:
        raise InvalidEntryError(
            f"these fields do not fit: {error.reason}", field="fields"
        ) from error
    raise InvalidEntryError(
        "these fields cannot be written as front matter; simplify them", field="fields"
    )


def _if_right(parts: Parts, front: str, wanted: Mapping[str, JSON]) -> Parts | None:
    edited = replace(parts, front=front)
    try:
        right = split(str(edited)) == edited and same(parse(front), wanted)
    except FrontMatterError:
        return None
    return edited if right else None


def _applied(front: str, splices: Iterable[_Splice]) -> str:
    pieces = []
    at = 0
    for start, stop, text in sorted(splices, key=lambda splice: splice.start):
        pieces += [front[at:start], text]
        at = stop
    return "".join([*pieces, front[at:]])


def _restyled(
    front: str, key: yaml.Node, node: yaml.Node, change: _Change, newline: str
) -> _Splice:
    """Put a new value in an old one's place, in the old one's style as far as it has any."""
    value, column = change.new, node.start_mark.column
    if isinstance(node, yaml.ScalarNode):
        if node.style in {"|", ">"} and isinstance(value, str):
            return _value_splice(front, node, _hanging(block(value), newline, _column(key)))
        if isinstance(value, str) and node.tag == _TIMESTAMP == resolved(value):
            return _value_splice(front, node, value)
        quote = node.style if node.style in {"'", '"'} else None
        return _value_splice(front, node, flow(value, quote=quote, inside=False))
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return _value_splice(front, node, flow(value, inside=False))
    if value and isinstance(value, list) and isinstance(node, yaml.SequenceNode):
        return _items_splice(front, node, change.old, value, newline)
    if value and isinstance(value, dict) and isinstance(node, yaml.MappingNode):
        return _value_splice(front, node, _hanging(block(value), newline, column))
    # What stood on lines of its own comes back up, next to its key.
    start = front.find(":", key.end_mark.index) + 1
    comment = front[start : _line_end(front, start)]
    stop = _line_end(front, _end(front, node))
    return _Splice(start, stop, f" {flow(value, inside=False)}{comment}")


def _items_splice(
    front: str, node: yaml.SequenceNode, old: JSON, new: list[JSON], newline: str
) -> _Splice:
    """Replace a block sequence's items, but for those at the start that stay as they are."""
    column = _column(node)
    items = old if isinstance(old, list) else []
    kept = 0
    while kept < min(len(items), len(new)) and same(items[kept], new[kept]):
        kept += 1
    stop = _line_end(front, _end(front, node))
    if not kept:
        return _Splice(node.start_mark.index, stop, _hanging(block(new), newline, column))
    added = _hanging(["", *block(new[kept:])], newline, column) if kept < len(new) else ""
    start = _line_end(front, _end(front, node.value[kept - 1]))
    return _Splice(start, stop, added)


def _before_next(tree: _Tree, key: yaml.Node) -> int:
    """Return where the last line ends that is above a key's next neighbour."""
    below = bisect_right(tree.starts, key.start_mark.index)
    if below == len(tree.starts):
        return len(tree.front)
    return _line_start(tree.front, tree.starts[below]) - 1


def _line_splice(front: str, key: yaml.Node, end: int, text: str = "") -> _Splice:
    """Replace all lines from a key's to the one with the given end."""
    return _Splice(_line_start(front, key.start_mark.index), _next_line(front, end), text)


def _value_splice(front: str, node: yaml.Node, new: str) -> _Splice:
    start, end = node.start_mark.index, _end(front, node)
    return _Splice(start, end, new) if start < end else _Splice(end, end, f" {new}")


def _end(front: str, node: yaml.Node) -> int:
    """Return where a node's own text ends, before any blank line or comment that follows."""
    if isinstance(node, yaml.ScalarNode):
        end = node.end_mark.index
        trails = node.style in ("|", ">") or node.start_mark.index == end
        return len(front[:end].rstrip()) if trails else end
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        return node.end_mark.index
    last = node.value[-1]
    return _end(front, last[1] if isinstance(node, yaml.MappingNode) else last)


def _column(node: yaml.Node | None) -> int:
    return node.start_mark.column if node else 0


def _lines(lines: Iterable[str], newline: str, indent: int = 0) -> str:
    return "".join((line and " " * indent + line) + newline for line in lines)


def _hanging(lines: list[str], newline: str, indent: int) -> str:
    return newline.join([lines[0], *(line and " " * indent + line for line in lines[1:])])


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Return where the line of an index ends, before its newline."""
    end = _next_line(text, index)
    return index + len(text[index:end].rstrip("\r\n"))


def _next_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1

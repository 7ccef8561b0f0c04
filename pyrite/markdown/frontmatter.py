"""Reading front matter: where it is in a text, and what it says.

Front matter comes from anyone who can write a file, and YAML can express small texts that
become huge or endless objects. So the stream of events is checked before anything is built:
bounded size and depth, with all that its aliases stand for. What is then built has a bounded
cost, and whatever goes wrong is one `FrontMatterError` that says what and on which line.

Three things differ from plain YAML 1.1, and all keep what the person wrote: a key is always
text (`on: push` has the key "on", not True), so are a title, type, summary and tags
(`title: No` is "No", `tags: [007]` is "007"), and `12:30` is not the number 750.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.error import Mark

from pyrite.errors import PyriteError
from pyrite.markdown import yaml_aliases
from pyrite.markdown.entry import JSON, OWN_FIELDS, json_safe

if TYPE_CHECKING:
    from yaml._yaml import Mark as CMark

MAX_CHARACTERS: Final = 64 * 1024
MAX_DEPTH: Final = 20

#: What YAML does not allow to stand in a text as itself.
UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_NUMBERS: Final = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_TYPED_TAGS: Final = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", *_NUMBERS}

_OPENING = re.compile(r"(\ufeff?)(---[ \t]*\r?\n)")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)

#: What to do about YAML's commonest complaints.
_HINTS = {
    "mapping values are not allowed": 'quote a value that contains ": "',
    "cannot start any token": "indent with spaces, not tabs; quote text starting with @ or `",
    "could not find expected ':'": 'every line needs the form "key: value"',
    "did not find expected key": "check the indentation and the quotes around here",
    "expected <block end>": "check the indentation and the quotes around here",
    "not determine a constructor": "leave the !tag off, or quote the text",
    "found unexpected end of stream": "a quotation mark is missing",
    "but found another document": "a line that starts with --- ends the front matter",
}


class DocumentError(PyriteError):
    """A text cannot be read as an entry.

    Attributes:
        reason: what is wrong, in one line.
        line: the line at fault, counted from 1 in the whole file, or None where no line is.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class FrontMatterError(DocumentError):
    """A text's front matter cannot be read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A text in the five pieces that make it up when joined; without front matter, two."""

    #: the byte-order mark, or nothing
    prefix: str
    #: the fence line above the front matter, or nothing
    opening: str
    front: str
    #: the fence line below it, or nothing
    closing: str
    rest: str

    @property
    def newline(self) -> str:
        """The line ending of the front matter."""
        return "\r\n" if self.opening.endswith("\r\n") else "\n"

    def __str__(self) -> str:
        return self.prefix + self.opening + self.front + self.closing + self.rest


def split(text: str) -> Parts:
    """Return the text in its pieces; all of it is `rest` where no complete front matter is."""
    opening = _OPENING.match(text)
    closing = opening and _CLOSING.search(text, opening.end())
    if not opening or not closing:
        prefix = "\ufeff" if text.startswith("\ufeff") else ""
        return Parts(prefix, "", "", "", text[len(prefix) :])
    front = text[opening.end() : closing.start()]
    return Parts(opening[1], opening[2], front, closing[0], text[closing.end() :])


def parse(front: str, first_line: int = 1) -> dict[str, JSON]:
    """Return what front matter says, as JSON can hold it; the last of equal keys counts.

    Args:
        front: the text between the fences.
        first_line: the number in the file of that text's first line.

    Raises:
        FrontMatterError: it is not a mapping, not valid YAML, or beyond the limits.
    """
    node = compose(front, first_line)
    if node is None:
        return {}
    constructor = SafeConstructor()
    if any(yaml_aliases.is_merge(key, value) for key, value in node.value):
        constructor.flatten_mapping(node)
    mapping: dict[str, JSON] = {}
    for key, value in node.value:
        _keep_text(value, all_of_it=key.value in OWN_FIELDS)
        try:
            mapping[key.value] = json_safe(_constructed(constructor, value))
        except yaml.MarkedYAMLError as error:
            raise _explained(error, front, first_line) from error
        except ValueError as error:
            line = _line(front, value.start_mark, first_line)
            raise FrontMatterError(f"{shown(key.value)}: {_on_one_line(error)}", line) from error
    return mapping


def _constructed(constructor: SafeConstructor, node: yaml.Node) -> object:
    """Return the object a node stands for; ValueError for whatever its parts are refused with."""
    try:
        return constructor.construct_object(node, deep=True)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{_on_one_line(error)} (quote it to keep it as text)") from error
    except (TypeError, LookupError, AttributeError) as error:
        raise ValueError("a value does not fit its !!tag; leave the tag off") from error


def compose(front: str, first_line: int = 1) -> yaml.MappingNode | None:
    """Return front matter as a tree of nodes with their places in the text, None if empty.

    Raises:
        FrontMatterError: it is not a mapping, not valid YAML, or beyond the limits.
    """
    if len(front) > MAX_CHARACTERS:
        raise FrontMatterError(
            f"front matter has {len(front):,} characters, more than {MAX_CHARACTERS:,}; "
            "move text into the body",
            first_line,
        )
    if found := UNPRINTABLE.search(front):
        line = first_line + front.count("\n", 0, found.start())
        reason = f"front matter must not contain the character U+{ord(found[0]):04X}"
        raise FrontMatterError(reason, line)
    try:
        has_aliases = _check_events(front, first_line)
        node = yaml_aliases.compose(front) if has_aliases else yaml.compose(front, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _explained(error, front, first_line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FrontMatterError(f"not valid YAML: {_on_one_line(error)}", first_line) from error
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    if not isinstance(node, yaml.MappingNode) or node.tag != "tag:yaml.org,2002:map":
        reason = 'front matter must be lines of "key: value"'
        raise FrontMatterError(reason, _line(front, node.start_mark, first_line))
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            reason = "a key must be text, not a list or mapping"
            raise FrontMatterError(reason, _line(front, key.start_mark, first_line))
    return node


def shown(text: str) -> str:
    """Return a name as a message can show it: on one line, and not too long."""
    return repr(text if len(text) <= 60 else text[:59] + "…")  # noqa: PLR2004 - for the eye only


def _check_events(front: str, first_line: int) -> bool:
    """Refuse what would become too large or too deep; whether there are aliases to resolve."""
    expansion = yaml_aliases.Expansion()
    for event in yaml.parse(front, Loader=_LOADER):
        try:
            expansion.take(event)
        except yaml_aliases.AliasError as error:
            line = _line(front, event.start_mark, first_line)
            raise FrontMatterError(str(error), line) from error
        if expansion.height > MAX_DEPTH:
            reason = f"nested deeper than {MAX_DEPTH} levels"
            raise FrontMatterError(reason, _line(front, event.start_mark, first_line))
    return expansion.needed


def _line(front: str, mark: Mark | CMark | None, first_line: int) -> int:
    """Return a mark's line in the file; YAML's own count has more kinds of line ends."""
    return first_line + front.count("\n", 0, mark.index if mark else 0)


def _keep_text(node: yaml.Node, *, all_of_it: bool = False) -> None:
    """Have read as text what is text for us, whatever YAML 1.1 would take it for."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _TYPED_TAGS and (all_of_it or (node.tag in _NUMBERS and ":" in node.value)):
            node.tag = _TEXT_TAG
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and not yaml_aliases.is_merge(key, value):
                key.tag = _TEXT_TAG
            _keep_text(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _keep_text(item, all_of_it=all_of_it)


def _explained(error: yaml.MarkedYAMLError, front: str, first_line: int) -> FrontMatterError:
    reason = _on_one_line(", ".join(filter(None, (error.context, error.problem))))
    reason = reason.replace("tag:yaml.org,2002:", "!!")
    hint = next((f" ({hint})" for complaint, hint in _HINTS.items() if complaint in reason), "")
    mark, end = error.problem_mark, len(front.rstrip())
    if error.context_mark and (mark is None or mark.index >= end):
        mark = error.context_mark  # what was never closed is at fault, not the end of the text
    return FrontMatterError(f"not valid YAML: {reason}{hint}", _line(front[:end], mark, first_line))


def _on_one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return "an integer with too many digits" if "integer string conversion" in text else text

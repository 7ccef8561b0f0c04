"""Values as YAML text.

Everything written here is read back and compared before it reaches a file, so this module
aims at what a person would have typed: plain where that is safe, quoted where it is not.
Double-quoted strings and flow collections are JSON, which YAML contains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from pyrite.errors import InvalidEntryError
from pyrite.markdown.entry import JSON, OWN_FIELDS, json_safe
from pyrite.markdown.frontmatter import MAX_DEPTH, UNPRINTABLE, shown

_RESOLVER = Resolver()

#: Characters that a string has to be double-quoted for: they would be folded, or lost.
_ESCAPED = re.compile("[\t\n\r\x85\u2028\u2029\ufeff]")
_NOT_IN_JSON = re.compile("[\x85\u2028\u2029\ufeff]")

_PLAIN = re.compile(r"""[^\s\-?:,\[\]{}#&*!|>'"%@`.=~<](?:[^:#]|:(?=\S)|(?<=\S)\#)*""")
_FLOW_INDICATORS = re.compile(r"[,\[\]{}:?]")

#: A literal block can hold it: it begins with text, and has only line feeds for breaks.
_LITERAL = re.compile("[^\\s][^\t\r\x85\u2028\u2029\ufeff]*[^\\s]\n?")


def checked(name: str, value: object) -> JSON:
    """Return a field's value as JSON can hold it, sure that YAML can hold it too.

    Raises:
        InvalidEntryError: it cannot be written; the message names the field.
    """
    if found := UNPRINTABLE.search(name):
        raise InvalidEntryError(
            f"a field's name must not contain U+{ord(found[0]):04X}", field="fields"
        )
    try:
        _check(name, value, 1)
        return json_safe(value)
    except ValueError as error:
        raise InvalidEntryError(
            f"the field {shown(name)} cannot be written: {error}",
            field=name if name in OWN_FIELDS else f"fields.{name}",
        ) from error


def _check(name: str, value: object, depth: int) -> None:
    if isinstance(value, str):
        if found := UNPRINTABLE.search(value):
            raise ValueError(f"it contains the character U+{ord(found[0]):04X}; remove it")
    elif isinstance(value, (Mapping, list, tuple)):
        if depth >= MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH - 1} levels")
        parts = [*value, *value.values()] if isinstance(value, Mapping) else value
        for part in parts:
            _check(name, part, depth + 1)


def block(value: JSON) -> list[str]:
    """Return the lines of a value in block style, to be indented as one."""
    match value:
        case Mapping() if value:
            return [line for key, item in value.items() for line in _pair(key, item)]
        case list() if value:
            return [line for item in value for line in _item(block(item))]
        case str() if "\n" in value and _LITERAL.fullmatch(value):
            head = "|" if value.endswith("\n") else "|-"
            return [head, *(line and f"  {line}" for line in value.rstrip("\n").split("\n"))]
        case _:
            return [flow(value, inside=False)]


def flow(value: JSON, *, quote: str | None = None, inside: bool = True) -> str:
    """Return a value on one line.

    Args:
        value: what to write.
        quote: the quotation mark to prefer for a string, None for none.
        inside: whether it stands inside a flow collection, where fewer strings can be plain.
    """
    match value:
        case None | bool() | int():
            return json.dumps(value)
        case float():
            text = repr(value)
            return text if "." in text else text.replace("e", ".0e")
        case str():
            return _string(value, quote, inside=inside)
        case Mapping():
            return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
        case _:
            return "[" + ", ".join(flow(item) for item in value) + "]"


def resolved(text: str) -> str:
    """Return the tag of the type that YAML takes a plain scalar for."""
    tag: str = _RESOLVER.resolve(ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag


def _pair(key: str, value: JSON) -> list[str]:
    name = flow(key)
    lines = block(value)
    if value and isinstance(value, (list, Mapping)):
        return [f"{name}:", *(line and f"  {line}" for line in lines)]
    return [f"{name}: {lines[0]}", *lines[1:]]


def _item(lines: list[str]) -> list[str]:
    return [f"- {lines[0]}", *(line and f"  {line}" for line in lines[1:])]


def _string(text: str, quote: str | None, *, inside: bool) -> str:
    if quote is None and _is_plain(text) and not (inside and _FLOW_INDICATORS.search(text)):
        return text
    if quote == '"' or _ESCAPED.search(text) or (quote is None and "'" in text):
        quoted = json.dumps(text, ensure_ascii=False)
        return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    return "'" + text.replace("'", "''") + "'"


def _is_plain(text: str) -> bool:
    """Whether YAML reads the bare text as this very string, and other parsers would too."""
    return (
        _PLAIN.fullmatch(text) is not None
        and not text[-1].isspace()
        and not _ESCAPED.search(text)
        and not _is_number(text)
        and resolved(text) == "tag:yaml.org,2002:str"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.startswith(("0o", "0x"))
    return True

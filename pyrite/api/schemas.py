"""JSON Schemas of the types, as OpenAPI and MCP need them, and an example of each."""

from __future__ import annotations

import types
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, structs

from pyrite.api.parameters import MOST

REF = "#/components/schemas/{name}"

_PREFIX = REF.format(name="")

Schema = dict[str, Any]


def components(kinds: Iterable[Any]) -> dict[str, Schema]:
    """The schemas of some types and of all that they are made of, by name.

    An enumeration stands where it is used: its values are what a reader looks for.
    """
    _, found = msgspec.json.schema_components(kinds, ref_template=REF)
    enums = {name: schema for name, schema in found.items() if "enum" in schema}
    named = {name: schema for name, schema in found.items() if name not in enums}
    return {name: _resolved(schema, enums) for name, schema in sorted(named.items())}


def _resolved(node: Any, named: dict[str, Schema], without: frozenset[str] = frozenset()) -> Any:
    """A schema in which references to some stand for what they refer to, and less is said."""
    if isinstance(node, list):
        return [_resolved(each, named, without) for each in node]
    if not isinstance(node, dict):
        return node
    name = node.get("$ref", "").removeprefix(_PREFIX)
    if name in named:
        node = named[name] | {key: value for key, value in node.items() if key != "$ref"}
        if "enum" in node:
            node = {"type": "string"} | node
    return {
        key: {name: _resolved(each, named, without) for name, each in value.items()}
        if key == "properties"
        else value
        if key in {"default", "examples", "enum", "const", "required"}
        else _resolved(value, named, without)
        for key, value in node.items()
        if key not in {"title", *without}
    }


def inlined(kind: Any, without: Iterable[str] = ()) -> Schema:
    """The schema of one object, without a reference; what is required comes first."""
    (schema,), found = msgspec.json.schema_components([kind], ref_template=REF)
    schema = _resolved(schema, found, frozenset(without))
    needed = dict.fromkeys(schema.get("required", ()))
    properties = {
        name: _parameter(schema["properties"][name]) for name in needed | schema["properties"]
    }
    said = {key: value for key, value in schema.items() if (key, value) != ("required", [])}
    return {**said, "properties": properties}


def _parameter(schema: Schema) -> Schema:
    """A parameter's schema: it can be left out, which is all that null and nothing say."""
    options = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        schema = {**options[0], **schema}
    elif options:
        schema["anyOf"] = options
    if schema.get("default", ...) in (None, [], {}):
        del schema["default"]
    if schema.get("maximum") == MOST:
        del schema["maximum"]
    return schema


def outline(*kinds: type[Struct]) -> Schema:
    """The least that can be said of an object, or of one of several: which fields it always has."""
    first, *others = (
        [each.encode_name for each in structs.fields(kind) if each.required] for kind in kinds
    )
    return {
        "type": "object",
        "required": [name for name in first if all(name in other for other in others)],
    }


def example(kind: Any) -> Any:
    """An example of a type, made of those of its fields."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        given = [each.examples for each in inner[1:] if isinstance(each, Meta) and each.examples]
        return given[-1][0] if given else example(inner[0])
    if origin in {Union, types.UnionType}:
        shown = next((each for each in inner if _has_example(each)), None)
        return None if shown is None else example(shown)
    if origin is Literal:
        return inner[0]
    if origin is list:
        return [example(inner[0])]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return {
            field.encode_name: example(field.type)
            for field in structs.fields(kind)
            if field.default is not UNSET or _has_example(field.type)
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    return {} if origin is dict else kind()


def _has_example(kind: Any) -> bool:
    if get_origin(kind) in {Union, types.UnionType}:
        return any(map(_has_example, get_args(kind)))
    if get_origin(kind) is Annotated:
        return any(each.examples for each in get_args(kind)[1:] if isinstance(each, Meta)) or (
            _has_example(get_args(kind)[0])
        )
    return False

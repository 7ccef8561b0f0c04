"""What a client sends, held to its type: every fault is named, with the field that it is in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from pyrite.api.parameters import IN_QUERY
from pyrite.api.problems import Fault, fault
from pyrite.errors import InvalidQueryError

T = TypeVar("T", bound=Struct)

_REQUIRED = "field required"
_UNKNOWN = "extra inputs are not permitted"

#: The ends of msgspec's messages, which say where, and those that name a field in the object.
_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`$")


class InvalidParametersError(ValueError):
    """What a client sent is not of its form.

    Attributes:
        faults: what is wrong, at least one.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(f"{each.field}: {each.reason}" for each in self.faults))


class Args(Protocol):
    """The pairs of a query string."""

    def __iter__(self) -> Iterator[str]:
        """Each name, once."""

    def getlist(self, key: str) -> list[str]:
        """The values of a name."""


def converted(given: Any, kind: type[T], *, strict: bool = True) -> T:
    """A value of JSON's types as a type of ours.

    Args:
        given: the value.
        kind: the type.
        strict: whether a text that is a number is no number.

    Raises:
        InvalidParametersError: it is not of that form.
    """
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        faults = list(_faults(given, kind, strict))
        raise InvalidParametersError(faults or [_fault("", str(error), kind)]) from None


def from_query(args: Args, kind: type[T]) -> T:
    """The parameters of a query string.

    Raises:
        InvalidParametersError: they are not of that form.
        InvalidQueryError: a pair is not written NAME=VALUE.
    """
    known = {IN_QUERY.get(each.name, each.name): each for each in structs.fields(kind)}
    given: dict[str, Any] = {}
    unknown = []
    for name in args:
        values = args.getlist(name)
        if name not in known:
            unknown.append(fault(name, _UNKNOWN))
        else:
            field = known[name]
            taken = containers(field.type)
            if dict in taken:
                given[field.name] = _pairs(name, values)
            else:
                given[field.name] = values if list in taken or len(values) > 1 else values[0]
    try:
        found = converted(given, kind, strict=False)
    except InvalidParametersError as error:
        unknown = [*map(_in_query, error.faults), *unknown]
    if unknown:
        raise InvalidParametersError(unknown)
    return found


def _in_query(found: Fault) -> Fault:
    name, dot, rest = found.field.partition(".")
    return structs.replace(found, field=f"{IN_QUERY.get(name, name)}{dot}{rest}")


def _pairs(name: str, values: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InvalidQueryError(
                f"{name} must be of the form NAME=VALUE, not {pair!r}", field=name
            )
        if key in pairs:
            raise InvalidQueryError(f"the field {key!r} is given twice", field=name)
        pairs[key] = value
    return pairs


def from_arguments(arguments: Mapping[str, Any], kind: type[T]) -> T:
    """A tool's arguments. Null is as good as left out.

    Some clients write a list, an object or a number as a text. A text that is wanted as one is
    left as it is: a body may be JSON, and may be the word ``null``.

    Raises:
        InvalidParametersError: they are not of that form.
    """
    types = {each.name: containers(each.type) for each in structs.fields(kind)}
    given = {
        name: _parsed(value, types.get(name, set()))
        for name, value in arguments.items()
        if value is not None or name not in types
    }
    return converted(given, kind, strict=False)


def _parsed(value: Any, wanted: set[type]) -> Any:
    containers_wanted = wanted & {list, dict}
    if not isinstance(value, str) or not containers_wanted:
        return value
    if str in wanted and not value.startswith("["):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if type(parsed) in containers_wanted else value


def containers(annotation: Any) -> set[type]:
    """Which of list, dict and str a field can be."""
    origin = get_origin(annotation)
    if origin in {list, dict} or annotation is str:
        return {origin or str}
    inner = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
    return set().union(*map(containers, inner)) if origin is not Literal else set()


def lone_surrogates(given: Any, at: tuple[str, ...] = ()) -> Iterator[Fault]:
    """Texts that hold one half of a surrogate pair, which JSON can escape and nothing can store."""
    if isinstance(given, str):
        try:
            given.encode()
        except UnicodeEncodeError:
            yield fault(".".join(at), "it has one half of a letter, which is none")
    elif isinstance(given, dict):
        for name, value in given.items():
            yield from lone_surrogates(name, at)
            yield from lone_surrogates(value, (*at, name))
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from lone_surrogates(value, (*at, str(number)))


def _faults(given: Any, kind: type[Struct], strict: bool) -> Iterator[Fault]:
    """What is wrong with an object, field by field; msgspec itself stops at the first."""
    if not isinstance(given, Mapping):
        return
    known = {each.encode_name: each for each in structs.fields(kind)}
    for name, field in known.items():
        if name in given:
            try:
                msgspec.convert(given[name], field.type, strict=strict)
            except msgspec.ValidationError as error:
                yield _fault(name, str(error), field.type)
        elif field.required:
            yield fault(name, _REQUIRED)
    yield from (fault(name, _UNKNOWN) for name in given if name not in known)


def _fault(field: str, message: str, kind: Any) -> Fault:
    """What msgspec says of a value; the value itself is not repeated."""
    at = _AT.search(message)
    steps = [field] if field else []
    if at is not None:
        message = message[: at.start()]
        steps += [name or number for name, number in _STEP.findall(at[1])]
    if named := _NAMED.match(message):
        return fault(".".join([*steps, named[2]]), _REQUIRED if "missing" in named[1] else _UNKNOWN)
    if message.startswith("Invalid enum value"):
        message = f"it must be one of {', '.join(map(repr, _choices(kind)))}"
    elif " matching regex " in message:
        message = "it has a character that cannot stand in a text"
    return fault(".".join(steps), message.replace("`", ""))


def _choices(annotation: Any) -> list[Any]:
    """The values of an enumeration, or of the first one within a type."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [each.value for each in annotation]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return next(filter(None, map(_choices, get_args(annotation))), [])

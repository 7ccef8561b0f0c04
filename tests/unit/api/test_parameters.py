"""A command's options are the parameters of the API, which light commands do not import."""

from __future__ import annotations

from typing import Any

import click
import pytest
from msgspec import Struct

from pyrite.api import schemas
from pyrite.api.parameters import (
    FailureParameters,
    NewEntry,
    RelatedParameters,
    RetryOrder,
    SearchParameters,
    SyncOrder,
)
from pyrite.cli.main import cli

#: Options that may be given several times are called in the plural.
PLURAL = {"type": "types", "kb": "kbs", "id": "entry_id"}


def options(*names: str) -> dict[str | None, click.Parameter]:
    command: Any = cli
    for name in names:
        command = command.commands[name]
    return {each.name: each for each in command.params}


@pytest.mark.parametrize(
    ("command", "kind", "elsewhere"),
    [
        (("search",), SearchParameters, set()),
        (("related",), RelatedParameters, set()),
        (("index", "sync"), SyncOrder, set()),
        (("index", "embed"), RetryOrder, set()),
        # All of them are listed.
        (("index", "embed"), FailureParameters, {"limit"}),
        (("create",), NewEntry, set()),
    ],
)
def test_a_command_takes_what_the_api_does(
    command: tuple[str, ...], kind: type[Struct], elsewhere: set[str]
) -> None:
    taken = options(*command)
    for name in set(schemas.inlined(kind)["properties"]) - elsewhere:
        named = {name, PLURAL.get(name, name), f"entry_{name}"}
        assert named & taken.keys(), (command, name)


@pytest.mark.parametrize(
    ("command", "kind"), [("search", SearchParameters), ("related", RelatedParameters)]
)
def test_a_command_has_the_same_bounds_and_defaults(command: str, kind: type[Struct]) -> None:
    taken, schema = options(command), schemas.inlined(kind)["properties"]
    for name in {"limit", "offset", "mode", "timeout"} & schema.keys():
        option = taken[name]
        assert option.default == schema[name]["default"], name
        if isinstance(option.type, click.Choice):
            assert sorted(option.type.choices) == schema[name]["enum"]
        else:
            assert isinstance(option.type, click.IntRange | click.FloatRange)
            assert option.type.min == schema[name]["minimum"]
    limit = taken["limit"].type
    assert isinstance(limit, click.IntRange)
    assert limit.max == schema["limit"]["maximum"]

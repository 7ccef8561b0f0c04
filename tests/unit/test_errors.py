"""What anybody is told of an error names no path of this computer and no command to run on it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrite
from pyrite import errors
from pyrite.errors import ConfigError, NotFoundError, PyriteError

ROOT = Path(pyrite.__file__).parent

KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, PyriteError)
}

#: What only commands use: nothing of it is told to a client of the server.
LOCAL = re.compile(r"(cli|client|mcp)/|knowledge/(import|export)|(auth|tables)/tokens\.py")

#: Values that are, or hold, a path of this computer.
_PATHS = re.compile(
    r"\b(?:path|root|folder|home|file_path|database_path|config_path|database|link_target)\b"
    r"(?!\.(?:name|stem)\b)"
)


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Every place in which an error is made."""
    for file in sorted(ROOT.rglob("*.py")):
        relative = file.relative_to(ROOT).as_posix()
        if LOCAL.search(relative):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in KINDS
            ):
                yield f"{relative}:{node.lineno}", node


def told(call: ast.Call) -> ast.expr | None:
    """The expression that makes what anybody is told; None where the kind has a text of its own."""
    assert isinstance(call.func, ast.Name)
    for keyword in call.keywords:
        if keyword.arg == "public":
            return keyword.value
    if KINDS[call.func.id]._instead is not None or not call.args:
        return None
    # An unreadable file is called by its place in the knowledge base, and then comes the reason.
    return call.args[1] if call.func.id == "UnreadableFileError" else call.args[0]


PLACES = list(raised())


def test_there_are_places() -> None:
    assert len(PLACES) > 40


@pytest.mark.parametrize(("place", "call"), PLACES, ids=[place for place, _ in PLACES])
def test_no_error_tells_anybody_a_path_or_a_command(place: str, call: ast.Call) -> None:
    expression = told(call)
    if expression is None:
        return
    assert "`pyrite " not in ast.unparse(expression).replace("\\`", "`")
    for value in ast.walk(expression):
        if isinstance(value, ast.FormattedValue):
            shown = ast.unparse(value.value)
            assert not _PATHS.search(shown), f"{place} tells {{{shown}}}: give it public="


def test_the_message_is_told_unless_there_is_another() -> None:
    assert NotFoundError("gone").public == "gone"
    assert NotFoundError("/a/b is gone", public="it is gone").public == "it is gone"
    assert str(NotFoundError("/a/b is gone", public="it is gone")) == "/a/b is gone"


def test_some_kinds_never_tell_their_message() -> None:
    assert "/a/b" not in ConfigError("/a/b cannot be read").public
    assert ConfigError("/a/b: paused must be", public="paused must be").public == "paused must be"

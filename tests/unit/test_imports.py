"""Arrows run one way: who imports whom, read from the sources, imports for type checking included.

The handbook's page on the layout of the code shows the same order.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The rooms, from the bottom up: each may import those of the lines above its own.
FLOORS = (
    ("actors",),
    ("pyrite", "errors"),
    ("config",),
    ("markdown",),
    ("storage", "encoders", "client"),
    ("vault", "neighbours"),
    ("knowledge", "embedding"),
    ("search",),
    ("api",),
    ("auth",),
    ("services",),
    ("mcp",),
    ("server",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: The least that a room can be seen to be built of; fewer modules were read from the wrong place.
_ROOMS = 17

#: All that the pipeline knows besides the standard library.
ACTORS_KNOW = {"actors", "outcome", "trio"}


def modules() -> dict[str, Path]:
    """Every module of the product, by its dotted name."""
    found = {}
    for folder in ("actors", "pyrite"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(source: str, package: str) -> Iterator[tuple[str, bool]]:
    """Every module, or name in one, that a source imports, and whether only for type checking."""
    tree = ast.parse(source)
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the package itself, two dots are the one around it.
            parts = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node in for_types) for alias in node.names)


def module_of(name: str, known: Iterable[str]) -> str | None:
    """The module that a dotted name is, or lies in; None where it is not ours."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None


def room_of(module: str) -> str:
    """The room of a module: the package beside the others, or the module that stands alone."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pyrite" and len(parts) > 1 else parts[0]


def package_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def arrows() -> dict[str, set[str]]:
    """Of each module, the others of ours that it imports."""
    return {
        module: {
            found
            for name, _ in imports(path.read_text(), package_of(module, path))
            if (found := module_of(name, MODULES)) is not None and found != module
        }
        for module, path in MODULES.items()
    }


ARROWS = arrows()


def wrong(arrows: Mapping[str, Iterable[str]]) -> list[str]:
    """The arrows between rooms that do not lead down."""
    return sorted(
        f"{module} -> {target}"
        for module, targets in arrows.items()
        for target in targets
        if room_of(module) != room_of(target) and FLOOR[room_of(target)] >= FLOOR[room_of(module)]
    )


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups of modules that import one another, by Tarjan's algorithm (1972)."""
    found: list[list[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in arrows.get(module, ()):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in arrows:
        if module not in index:
            visit(module)
    return found


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert rooms == FLOOR.keys()
    assert len(rooms) >= _ROOMS


def test_only_the_errors_stand_beside_the_rooms() -> None:
    loose = {path.name for path in (ROOT / "pyrite").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py", "errors.py"}


def test_arrows_run_one_way() -> None:
    assert wrong(ARROWS) == []


def test_there_is_no_circle() -> None:
    assert circles(ARROWS) == []


def test_every_room_says_what_it_is_for() -> None:
    silent = [
        module
        for module, path in MODULES.items()
        if path.name == "__init__.py"
        and module.count(".") == 1
        and "Used by" not in (ast.get_docstring(ast.parse(path.read_text())) or "")
        and module not in {"pyrite.cli", "pyrite.handbook"}
    ]
    assert silent == []


@pytest.mark.parametrize("module", [name for name in MODULES if room_of(name) == "actors"])
def test_the_actors_know_trio_and_nothing_else(module: str) -> None:
    # They carry arrays without knowing them: numpy is a word in their annotations only.
    names = {
        name for name, for_types in imports(MODULES[module].read_text(), "actors") if not for_types
    }
    roots = {name.partition(".")[0] for name in names}
    assert roots - sys.stdlib_module_names <= ACTORS_KNOW


@pytest.mark.parametrize(
    "source",
    [
        "import pyrite.storage.sqlite.store as s",
        "from pyrite.storage import sqlite",
        "from pyrite.storage.protocol import Storage",
        "from ..storage import protocol",
        "from .. import storage",
        "def late():\n    import pyrite.storage",
        "try:\n    import trio, pyrite.storage\nexcept ImportError: pass",
        "if TYPE_CHECKING:\n    import pyrite.storage",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pyrite.storage",
    ],
)
def test_the_reader_finds_every_way_to_import(source: str) -> None:
    found = {module_of(name, MODULES) for name, _ in imports(source, "pyrite.markdown")} - {None}
    assert wrong({"pyrite.markdown.entry": {name for name in found if name}})


@pytest.mark.parametrize(
    "source", ["import pyrite_other", "from .chunks import chunks", "from . import chunks"]
)
def test_the_reader_finds_nothing_that_is_not_there(source: str) -> None:
    found = {module_of(name, MODULES) for name, _ in imports(source, "pyrite.markdown")} - {None}
    assert not wrong({"pyrite.markdown.entry": {name for name in found if name}})


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": []}) == [
        ["a", "b", "c"]
    ]

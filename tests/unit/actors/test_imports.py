"""Arrows run one way: who imports whom, read from the sources."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FACES = ("pyrite.server", "pyrite.cli", "pyrite.mcp")

#: Which packages may not be imported, in any place, by which.
FORBIDDEN = {
    "actors": ("pyrite", "sqlite3", "pysqlite3", "torch", "quart", "numpy"),
    "pyrite/entries": (*FACES, "pyrite.services", "pyrite.storage", "pyrite.encoders"),
    "pyrite/storage": (*FACES, "pyrite.services"),
    "pyrite/encoders": (*FACES, "pyrite.services"),
    "pyrite/neighbours": (*FACES, "pyrite.services", "pyrite.encoders", "pyrite.storage.sqlite"),
    "pyrite/services": FACES,
}

#: All that the pipeline knows besides the standard library.
ACTORS_KNOW = {"actors", "outcome", "trio"}


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


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(source: str, package: str, forbidden: tuple[str, ...], *, types: bool) -> list[str]:
    """The forbidden imports; ``types`` says whether those for type checking count too."""
    return [
        name
        for name, for_types in imports(source, package)
        if (types or not for_types) and any(within(name, one) for one in forbidden)
    ]


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def package_of(module: Path) -> str:
    return ".".join(module.parent.relative_to(ROOT).parts)


@pytest.mark.parametrize(
    ("folder", "module"),
    [(folder, module) for folder in FORBIDDEN for module in modules(folder)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_arrows_run_one_way(folder, module):
    # The actors carry arrays without knowing them: numpy is a word in their annotations only.
    types = folder != "actors"
    assert violations(module.read_text(), package_of(module), FORBIDDEN[folder], types=types) == []


@pytest.mark.parametrize("module", modules("actors"), ids=lambda module: module.name)
def test_the_actors_know_trio_and_nothing_else(module):
    names = {name for name, for_types in imports(module.read_text(), "actors") if not for_types}
    roots = {name.partition(".")[0] for name in names}
    assert roots - sys.stdlib_module_names <= ACTORS_KNOW


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_there_is_something_to_read(folder):
    assert len(modules(folder)) > 1


@pytest.mark.parametrize(
    "source",
    [
        "import pyrite",
        "import pyrite.storage.sqlite as s",
        "from pyrite import storage",
        "from pyrite.storage import protocol",
        "from ..storage import protocol",
        "from .. import storage",
        "def late():\n    import sqlite3",
        "try:\n    import trio, sqlite3\nexcept ImportError: pass",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import sqlite3",
    ],
)
def test_the_reader_finds_every_way_to_import(source):
    forbidden = ("pyrite.storage", "sqlite3") if "storage" in source else ("pyrite", "sqlite3")
    assert violations(source, "pyrite.entries", forbidden, types=False)


@pytest.mark.parametrize(
    ("source", "types"),
    [
        ("import pyrite_other", True),
        ("from .chunks import chunks", True),
        ("from . import chunks", True),
        ("import typing\nif typing.TYPE_CHECKING:\n    import pyrite.storage", False),
    ],
)
def test_the_reader_finds_nothing_that_is_not_there(source, types):
    assert not violations(source, "pyrite.entries", ("pyrite.storage", "sqlite3"), types=types)

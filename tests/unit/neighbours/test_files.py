"""Whatever has become of the files: they are used only if they are what was published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pyrite.neighbours.build import Outcome, update_graph
from pyrite.neighbours.files import FORMAT, GraphFile, GraphFolder, GraphState
from pyrite.neighbours.opening import open_index
from pyrite.neighbours.protocol import NeighbourOptions
from tests.unit.neighbours.sources import (
    MODEL,
    SqliteSource,
    assert_same,
    brute_force,
    clustered,
)

DIMENSION = 16
COUNT = 3000
#: With one thread a graph is the same each time.
OPTIONS = NeighbourOptions(
    threads=1, exact_limit=100, tail_limit=50, connectivity=8, expansion_add=32
)


class Published:
    """A source, and a folder with its graph."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.graphs = GraphFolder(folder)
        self.source = SqliteSource()
        self.vectors = clustered(np.random.default_rng(21), COUNT, DIMENSION)
        self.source.add(self.vectors)
        assert update_graph(self.source, MODEL, folder, options=OPTIONS) is Outcome.BUILT

    def file(self) -> GraphFile:
        file = self.graphs.find(MODEL, self.source.database_id, DIMENSION).file
        assert file is not None
        return file

    def find(self, *, full: bool = False) -> GraphState:
        return self.graphs.find(MODEL, self.source.database_id, DIMENSION, full=full).state

    def path(self, part: str) -> Path:
        name: str = json.loads(self.sidecar.read_text())[part]["name"]
        return self.folder / name

    @property
    def sidecar(self) -> Path:
        return self.graphs.sidecar(MODEL)

    def describe(self, **changes: object) -> None:
        self.sidecar.write_text(json.dumps(json.loads(self.sidecar.read_text()) | changes))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def published(template: Published, tmp_path: Path) -> Published:
    folder = tmp_path / "graphs"
    shutil.copytree(template.folder, folder)
    copy = object.__new__(Published)
    copy.__dict__.update(template.__dict__)
    copy.folder, copy.graphs = folder, GraphFolder(folder)
    return copy


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DAMAGES: dict[str, Callable[[Published], object]] = {
    "no graph": lambda p: p.path("graph").unlink(),
    "no codes": lambda p: p.path("codes").unlink(),
    "a graph without its end": lambda p: cut(p.path("graph"), -1),
    "a graph of half its size": lambda p: cut(p.path("graph"), p.path("graph").stat().st_size // 2),
    "an empty graph": lambda p: p.path("graph").write_bytes(b""),
    "a longer graph": lambda p: p.path("graph").write_bytes(p.path("graph").read_bytes() + b"x"),
    "codes without their end": lambda p: cut(p.path("codes"), -1),
    "another first byte": lambda p: flip(p.path("graph"), 0),
    "another last byte": lambda p: flip(p.path("graph"), -1),
    "another byte in the middle": lambda p: flip(p.path("graph"), 65 * 1024 // 2),
    "another first code": lambda p: flip(p.path("codes"), 0),
    "another last number": lambda p: flip(p.path("codes"), -1),
    "a description that is none": lambda p: p.sidecar.write_bytes(b"\xff{garbage"),
    "an empty description": lambda p: p.sidecar.write_bytes(b""),
    "a list for a description": lambda p: p.sidecar.write_text("[1, 2]"),
    "a number for a description": lambda p: p.sidecar.write_text("3"),
    "a description without parts": lambda p: p.sidecar.write_text(f'{{"format": {FORMAT}}}'),
    "a description with more in it": lambda p: p.describe(more=1),
    "words for numbers": lambda p: p.describe(count="many"),
    "a part that is none": lambda p: p.describe(graph=3),
    "a part elsewhere": lambda p: p.describe(
        graph=json.loads(p.sidecar.read_text())["graph"] | {"name": "../elsewhere"}
    ),
    "another count": lambda p: p.describe(count=COUNT - 1),
}

FOREIGN: dict[str, Callable[[Published], object]] = {
    "another database": lambda p: p.describe(database_id="another"),
    "another model": lambda p: p.describe(model_id=MODEL + 1),
    "another dimension": lambda p: p.describe(dimension=DIMENSION + 1),
    "another format": lambda p: p.describe(format=FORMAT + 1),
    "a format of which nothing is known": lambda p: p.sidecar.write_text('{"format": "9b"}'),
}


def check_unused_and_rebuilt(published: Published, standing: GraphState) -> None:
    query = published.vectors[0]
    expected = brute_force(published.source, query, 10)
    assert published.find() is standing

    index = open_index(published.source, MODEL, published.folder, OPTIONS)
    assert (index.is_exact, index.graph_state, len(index)) == (True, standing, COUNT)
    assert_same(index.search(query, 10), expected)

    outcome = update_graph(published.source, MODEL, published.folder, options=OPTIONS)
    assert outcome is Outcome.BUILT
    index.refresh()
    assert (index.is_exact, index.graph_state, len(index)) == (False, GraphState.USABLE, COUNT)
    assert_same(index.search(query, 10), expected)
    assert published.find(full=True) is GraphState.USABLE


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_one_is_not_used_and_is_built_anew(published: Published, name: str) -> None:
    DAMAGES[name](published)
    check_unused_and_rebuilt(published, GraphState.DAMAGED)


@pytest.mark.parametrize("name", FOREIGN)
def test_one_of_something_else_is_not_used_and_is_built_anew(
    published: Published, name: str
) -> None:
    FOREIGN[name](published)
    check_unused_and_rebuilt(published, GraphState.FOREIGN)


def test_a_missing_one_is_built(published: Published) -> None:
    published.sidecar.unlink()
    check_unused_and_rebuilt(published, GraphState.MISSING)


def test_a_file_that_is_whole_but_no_graph_is_not_used(published: Published) -> None:
    file, path = published.file(), published.path("graph")
    path.write_bytes(b"something else " * 1000)
    published.graphs.publish(replace(file, graph=published.graphs.part(path)))
    index = open_index(published.source, MODEL, published.folder, OPTIONS)
    assert (index.is_exact, index.graph_state) == (True, GraphState.DAMAGED)


def test_a_full_look_finds_what_a_quick_one_passes_over(published: Published) -> None:
    path = published.path("graph")
    pristine = path.read_bytes()
    unseen = 0
    for place in range(len(pristine) // 2, len(pristine) // 2 + 40_000, 4_001):
        flip(path, place)
        unseen += published.find() is GraphState.USABLE
        assert published.find(full=True) is GraphState.DAMAGED
        path.write_bytes(pristine)
    assert unseen < 11
    assert published.find(full=True) is GraphState.USABLE


def test_only_the_newest_files_are_kept(published: Published) -> None:
    (published.folder / f"{MODEL}-crashed.usearch").write_bytes(b"half")
    others = published.folder / f"{MODEL}1-other.usearch"
    others.write_bytes(b"another model's")
    update_graph(published.source, MODEL, published.folder, options=OPTIONS, rebuild=True)

    names = {published.path("graph").name, published.path("codes").name}
    kept = {path.name for path in published.folder.iterdir()}
    assert kept == names | {f"{MODEL}.json", f"{MODEL}.lock", others.name}

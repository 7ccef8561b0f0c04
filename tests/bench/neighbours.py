"""Nearest neighbours at three sizes: how fast, how right, how large, how soon.

The vectors are made: mixtures of as many clusters as the root of their number, most of whose
variance lies in some 50 of the 384 dimensions, as in embeddings of texts. Half the queries are
of the clusters, half lie between them.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pyrite.neighbours.build import update_graph
from pyrite.neighbours.codes import encoded
from pyrite.neighbours.exact import ExactIndex
from pyrite.neighbours.opening import AutoIndex, open_index
from pyrite.neighbours.protocol import Ids, Matrix, NeighbourOptions, Vector
from pyrite.neighbours.vectors import decoded, products, ranked
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from tests.bench.report import Table, percentile

DIMENSION = 384
LATENT = 64
PAGE = 10_000
LIMIT = 10
#: Candidates that the alternatives compare exactly, too.
RESCORED = 100
BITS_RESCORED = 200
#: Beyond, building other graphs for comparison would take half an hour.
MOST_FOR_OTHERS = 100_000

Found = list[tuple[int, float]]
Search = Callable[[Vector], Collection[int]]


def run(folder: Path, quick: bool) -> Sequence[Table]:
    sizes = (1_000,) if quick else (10_000, 100_000, 1_000_000)
    tables = [
        Table(
            "Nearest neighbours: searches",
            ("vectors", "how", "p50, ms", "p99, ms", "recall@10", "in memory, MB"),
            f"{LIMIT} of {DIMENSION} dimensions, in turn, in one thread; what is read from the "
            "storage to be compared exactly is within the time. Recall is the share of the "
            "exact answer that is found. Memory is that of arrays or of the graph in memory; "
            "what is mapped from files is in the next table.",
        ),
        Table(
            "Nearest neighbours: confined to some",
            ("vectors", "of which allowed", "exact, p50 ms", "graph, p50 ms", "graph, recall@10"),
            "`apart`: the allowed ones are those farthest from all queries.",
        ),
        Table(
            "Nearest neighbours: files and times",
            (
                "vectors",
                "graph, MB",
                "codes, MB",
                "build, s",
                "extend by 1 %, s",
                "exact: open, s",
                "graph: open, s",
                "commit to findable, exact, ms",
                "commit to findable, graph, ms",
                "whole process with exact, s",
                "whole process with graph, s",
            ),
            "A whole process starts Python, imports, opens and searches once; files are in the "
            "system's cache. Medians of 5, but for building.",
        ),
    ]
    # What was made once can be kept: a million vectors take a quarter of an hour.
    folder = Path(os.environ.get("BENCH_NEIGHBOURS_KEEP", folder))
    for size in sizes:
        bench = Bench(folder / str(size), size, 12 if quick else 500, 1 if quick else 5)
        bench.searches(tables[0])
        bench.confined(tables[1], searches=4 if quick else 50)
        bench.files(tables[2])
        bench.close()
    return tables


class Searcher(Protocol):
    """An index of the product."""

    def refresh(self) -> None: ...

    def search(self, query: Vector, limit: int, among: Ids | None = None) -> Found: ...


class Bench:
    """A database of so many vectors, with a graph, and queries with their exact answers."""

    def __init__(self, folder: Path, size: int, queries: int, times: int) -> None:
        self.folder = folder
        self.size = size
        #: How often to take what is a median.
        self.times = times
        folder.mkdir(parents=True, exist_ok=True)
        self.storage = SqliteStorage(folder / "pyrite.db")
        self.model_id = self.storage.model("bench", "bench").model_id
        built = folder / "built.txt"
        if not built.exists():
            fill(self.storage, folder / "pyrite.db", self.model_id, made(size, seed=1))
            started = time.perf_counter()
            update_graph(self.storage, self.model_id, self.graphs, options=self.options)
            built.write_text(str(time.perf_counter() - started))
        self.built_s = float(built.read_text())
        self.queries = np.concatenate(
            [
                next(made(queries // 2, seed=1, draw=2, clusters_of=size)),
                next(made(queries - queries // 2, seed=3)),
            ]
        )
        #: To be committed one by one.
        self.fresh = iter(next(made(100, seed=4)))
        self.exact = ExactIndex(self.storage, self.model_id)
        self.opened_s = timed(self.exact.refresh)
        self.answers = [numbers(self.exact.search(query, LIMIT)) for query in self.queries]

    @property
    def options(self) -> NeighbourOptions:
        """There is a graph at any size."""
        return NeighbourOptions(exact_limit=1, tail_limit=1, tail_share=0.005)

    @property
    def graphs(self) -> Path:
        return self.folder / "graphs"

    def close(self) -> None:
        self.storage.close()

    def graph(self, options: NeighbourOptions | None = None) -> AutoIndex:
        index = open_index(self.storage, self.model_id, self.graphs, options or self.options)
        assert not index.is_exact
        return index

    def searches(self, table: Table) -> None:
        """Ours and others'."""
        mega = 1e-6
        vectors = self.exact._vectors
        self.measure(table, "exact", searching(self.exact), vectors.matrix.nbytes * mega)
        self.measure(table, "graph", searching(self.graph()), 0.0)
        for expansion in (128, 256):
            options = NeighbourOptions(exact_limit=1, expansion_search=expansion)
            index = self.graph(options)
            self.measure(table, f"graph, expansion_search {expansion}", searching(index), 0.0)
        bits = Bits(vectors.ids, vectors.matrix)
        name = f"numpy, bits, {BITS_RESCORED} compared exactly"
        self.measure(table, name, self.compared(bits.nearest), bits.bits.nbytes * mega)
        del bits
        if self.size > MOST_FOR_OTHERS:
            return
        for dtype, expansions in (("f16", (64, 256)), ("i8", (64, 256))):
            other = Usearch(dtype, vectors.ids, vectors.matrix)
            for expansion in expansions:
                other.index.expansion_search = expansion
                name = f"usearch {dtype} in memory, expansion_search {expansion}"
                memory = other.index.memory_usage * mega
                if dtype == "f16":
                    self.measure(table, f"{name}, nothing compared exactly", other.best, memory)
                self.measure(table, name, self.compared(other.nearest), memory)
            del other
            gc.collect()

    def compared(self, candidates: Search) -> Search:
        """A search that reads what is proposed from the storage, and compares it exactly."""

        def search(query: Vector) -> Collection[int]:
            rows = self.storage.embeddings_by_id(self.model_id, candidates(query))
            return numbers(ranked(*decoded(rows), query, LIMIT))

        return search

    def measure(self, table: Table, name: str, search: Search, memory: float) -> None:
        for query in self.queries[:5]:
            search(query)
        times, hits = [], 0
        for query, answer in zip(self.queries, self.answers, strict=True):
            started = time.perf_counter()
            found = search(query)
            times.append((time.perf_counter() - started) * 1000)
            hits += len(set(found) & set(answer))
        recall = f"{hits / (LIMIT * len(self.queries)):.4f}"
        table.add(self.size, name, percentile(times, 0.5), percentile(times, 0.99), recall, memory)

    def confined(self, table: Table, searches: int) -> None:
        graph, rng = self.graph(), np.random.default_rng(5)
        ids, matrix = self.exact._vectors.ids, self.exact._vectors.matrix
        half = len(self.queries) // 2
        rows = np.r_[0 : searches // 2, half : half + searches - searches // 2]
        queries = self.queries[rows]
        selections = {
            f"{share:.1%}": np.sort(rng.choice(ids, int(share * self.size), replace=False))
            for share in (0.001, 0.01, 0.1, 0.5)
        }
        mean = queries.mean(axis=0) / np.linalg.norm(queries.mean(axis=0))
        selections["10% apart"] = np.sort(
            ids[np.argsort(products(matrix, mean))[: self.size // 10]]
        )
        for name, among in selections.items():
            exact, graphs, hits, wanted = [], [], 0, 0
            for query in queries:
                started = time.perf_counter()
                right = numbers(self.exact.search(query, LIMIT, among))
                between = time.perf_counter()
                found = numbers(graph.search(query, LIMIT, among))
                exact.append((between - started) * 1000)
                graphs.append((time.perf_counter() - between) * 1000)
                hits, wanted = hits + len(set(right) & set(found)), wanted + len(right)
            table.add(
                self.size,
                name,
                percentile(exact, 0.5),
                percentile(graphs, 0.5),
                f"{hits / wanted:.4f}",
            )

    def files(self, table: Table) -> None:
        sizes = {path.suffix: path.stat().st_size / 1e6 for path in self.graphs.iterdir()}
        graph_opened_s = self.median(lambda: timed(self.graph))
        graph = self.graph()
        findable = [self.findable(index) * 1000 for index in (self.exact, graph)]
        processes = [self.process(exact=exact) for exact in (True, False)]
        self.exact = ExactIndex(self.storage, self.model_id)
        extra = next(made(max(10, self.size // 100), seed=9))
        insert(self.folder / "pyrite.db", self.model_id, extra)
        extended_s = timed(
            lambda: update_graph(self.storage, self.model_id, self.graphs, options=self.options)
        )
        table.add(
            self.size,
            sizes[".usearch"],
            sizes[".codes"],
            self.built_s,
            extended_s,
            self.opened_s,
            graph_opened_s,
            *findable,
            *processes,
        )

    def findable(self, index: Searcher) -> float:
        """Seconds from a commit to the end of the search that finds it."""

        def once() -> float:
            vector = next(self.fresh)
            (number,) = insert(self.folder / "pyrite.db", self.model_id, vector[None])
            started = time.perf_counter()
            index.refresh()
            found = index.search(vector, 1)
            took = time.perf_counter() - started
            assert found[0][0] == number
            return took

        return self.median(once)

    def median(self, once: Callable[[], float]) -> float:
        return float(np.median([once() for _ in range(self.times)]))

    def process(self, *, exact: bool) -> float:
        """Seconds that a process takes from its start to the end of its first search."""
        limit = 10**9 if exact else 1
        code = f"""
from pathlib import Path
import numpy as np
from pyrite.neighbours.opening import open_index
from pyrite.neighbours.protocol import NeighbourOptions
from pyrite.storage.sqlite.store import SqliteStorage
storage = SqliteStorage(Path({str(self.folder / "pyrite.db")!r}))
options = NeighbourOptions(exact_limit={limit})
index = open_index(storage, {self.model_id}, Path({str(self.graphs)!r}), options)
query = np.ones({DIMENSION}, np.float32) / np.float32({DIMENSION**0.5})
assert len(index.search(query, {LIMIT})) == {LIMIT} and index.is_exact is {exact}
"""
        command = [sys.executable, "-c", code]
        return self.median(lambda: timed(lambda: subprocess.run(command, check=True)))


class Bits:
    """One bit a dimension, compared with each."""

    def __init__(self, ids: Ids, matrix: Matrix) -> None:
        self.ids = ids
        self.bits = np.packbits(matrix > 0, axis=1).view(np.uint64)

    def nearest(self, query: Vector) -> list[int]:
        bits = np.packbits(query > 0).view(np.uint64)
        differing = np.bitwise_count(self.bits ^ bits).sum(axis=1, dtype=np.uint16)
        best = np.argpartition(differing, min(BITS_RESCORED, len(differing) - 1))
        found: list[int] = self.ids[best[:BITS_RESCORED]].tolist()
        return found


class Usearch:
    """A graph in memory."""

    def __init__(self, dtype: str, ids: Ids, matrix: Matrix) -> None:
        from usearch.index import Index  # noqa: PLC0415

        self.codes = dtype == "i8"
        #: With the defaults of the library: M is 16.
        self.index = Index(ndim=DIMENSION, metric="cos", dtype=dtype)
        for start in range(0, len(ids), PAGE):
            page = slice(start, start + PAGE)
            vectors = encoded(matrix[page])[0] if self.codes else matrix[page]
            self.index.add(ids[page].astype(np.uint64), vectors, threads=2)

    def best(self, query: Vector) -> list[int]:
        return self.nearest(query, LIMIT)

    def nearest(self, query: Vector, count: int = RESCORED) -> list[int]:
        given = encoded(query[None])[0] if self.codes else query
        found: list[int] = self.index.search(given, count, threads=1).keys.reshape(-1).tolist()
        return found


def made(
    size: int, seed: int, *, draw: int | None = None, clusters_of: int | None = None
) -> Iterator[Matrix]:
    """Pages of vectors; those of another draw from the same seed share its clusters."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, LATENT + 1, dtype=np.float32))
    # The directions in which texts differ are the same for all.
    spread = np.random.default_rng(0).standard_normal((LATENT, DIMENSION), np.float32)
    clusters = int((clusters_of or size) ** 0.5)
    centres = rng.standard_normal((clusters, LATENT), np.float32) * scale
    if draw is not None:
        rng = np.random.default_rng(draw)
    for start in range(0, size, PAGE):
        count = min(PAGE, size - start)
        within = rng.standard_normal((count, LATENT), np.float32) * scale
        places = centres[rng.integers(0, clusters, count)] + within
        noise = rng.standard_normal((count, DIMENSION), np.float32)
        vectors = places @ spread + 0.25 * np.linalg.norm(scale) * noise
        yield unit(vectors)


def unit(vectors: npt.NDArray[np.float32]) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


def fill(storage: SqliteStorage, path: Path, model_id: int, pages: Iterator[Matrix]) -> None:
    for page in pages:
        insert(path, model_id, page)


def insert(path: Path, model_id: int, vectors: Matrix) -> list[int]:
    """Commit embeddings as another process would; returns their numbers."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("BEGIN IMMEDIATE")
    ids = [
        conn.execute(
            "INSERT INTO embeddings (model_id, digest, vector) VALUES (?, randomblob(32), ?)",
            (model_id, vector.astype("<f4").tobytes()),
        ).lastrowid
        for vector in vectors
    ]
    conn.execute("COMMIT")
    conn.close()
    return ids


def searching(index: Searcher) -> Search:
    return lambda query: numbers(index.search(query, LIMIT))


def numbers(found: Found) -> list[int]:
    return [number for number, _ in found]


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started

"""The building of graphs: when one is due, and how it is made.

A build reads pages of embeddings in order of their numbers, so it can begin with what an
earlier graph holds and add only what is newer. It works in memory (600 bytes for each embedding
of 384 dimensions) and publishes at the end: whoever stops it, or pulls the plug, leaves the
graph before it in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from pyrite.neighbours.codes import Codes, CodesWriter, encoded
from pyrite.neighbours.dimension import dimension_of
from pyrite.neighbours.files import FORMAT, GraphFile, GraphFolder
from pyrite.neighbours.hnsw import Hnsw
from pyrite.neighbours.protocol import DEFAULTS, NeighbourOptions, VectorSource
from pyrite.neighbours.vectors import decoded
from pyrite.storage.records import EmbeddingState

#: Called with how many embeddings are in the graph, and about how many there will be.
Progress = Callable[[int, int], object]
Cancelled = Callable[[], bool]

#: Embeddings of a graph that are looked up, to estimate how many have been deleted.
_SAMPLED = 2000


class Work(Enum):
    """What a model's graph needs."""

    NOTHING = "nothing"
    BUILD = "build"
    EXTEND = "extend"
    #: Embeddings have been deleted: count how many of them are in it.
    COUNT = "count"


class Outcome(Enum):
    """How an update ended."""

    UP_TO_DATE = "up to date"
    BUILT = "built"
    EXTENDED = "extended"
    CANCELLED = "cancelled"
    #: Somebody else builds.
    BUSY = "busy"


def due(
    state: EmbeddingState, file: GraphFile | None, options: NeighbourOptions = DEFAULTS
) -> Work:
    """What a graph needs, given what the storage holds; None: there is no graph."""
    if state.count <= options.exact_limit:
        return Work.NOTHING
    if file is None:
        return Work.BUILD
    same = file.generation == state.generation
    newest = state.count - file.alive if same else state.count
    tail = min(newest, state.last_id - file.last_id)
    if tail > max(options.tail_limit, options.tail_share * state.count):
        return Work.EXTEND
    return Work.NOTHING if same else Work.COUNT


def update_graph(
    source: VectorSource,
    model_id: int,
    folder: Path,
    *,
    options: NeighbourOptions = DEFAULTS,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    rebuild: bool = False,
) -> Outcome:
    """Build, extend or leave alone a model's graph, as is due; may take many minutes.

    Blocks, but lets other threads run. What is committed meanwhile is taken in, too.

    Args:
        source: where the embeddings are.
        model_id: the model.
        folder: the folder of graphs; made if there is none.
        options: when a graph is due, and how it is built.
        progress: called after each page.
        cancelled: asked before each page whether to stop, with nothing changed.
        rebuild: build anew whatever is due, unless there are no embeddings.
    """
    dimension = dimension_of(source, model_id)
    if dimension is None:
        return Outcome.UP_TO_DATE
    graphs = GraphFolder(folder)
    state = source.embedding_state(model_id)
    found = graphs.find(model_id, state.database_id, dimension)
    if not rebuild and due(state, found.file, options) is Work.NOTHING:
        return Outcome.UP_TO_DATE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / f"{model_id}.lock").acquire(timeout=0)
    except Timeout:
        return Outcome.BUSY
    with held:
        # Somebody may just have built it.
        file = graphs.find(model_id, state.database_id, dimension).file
        build = _Build(source, model_id, dimension, graphs, options, state)
        work = Work.BUILD if rebuild else build.work(file)
        if work is Work.NOTHING:
            return Outcome.UP_TO_DATE
        return build.run(
            file if work is Work.EXTEND else None, progress or _silent, cancelled or _never
        )


@dataclass(frozen=True)
class _Build:
    """One update of a graph."""

    source: VectorSource
    model_id: int
    dimension: int
    graphs: GraphFolder
    options: NeighbourOptions
    state: EmbeddingState

    def work(self, file: GraphFile | None) -> Work:
        """What the graph needs, after counting its deleted embeddings if some were deleted."""
        work = due(self.state, file, self.options)
        if file is None or file.generation == self.state.generation:
            return work
        if work not in {Work.COUNT, Work.EXTEND}:
            return work
        alive = self.alive(file)
        if alive < (1 - self.options.gone_share) * file.count:
            return Work.BUILD
        counted = replace(file, generation=self.state.generation, alive=alive)
        if (work := due(self.state, counted, self.options)) is Work.NOTHING:
            self.graphs.publish(counted)
        return work

    def alive(self, file: GraphFile) -> int:
        """About how many of a graph's embeddings still exist; exact for small graphs."""
        ids = Codes(self.graphs.path / file.codes.name, file.count, file.dimension).ids
        some = np.unique(ids[np.linspace(0, len(ids) - 1, _SAMPLED).astype(np.intp)])
        there = len(self.source.embeddings_by_id(self.model_id, some.tolist()))
        return round(file.count * there / len(some))

    def run(self, earlier: GraphFile | None, progress: Progress, cancelled: Cancelled) -> Outcome:
        """Build, and publish unless it is stopped."""
        begun = self._begun(earlier)
        if begun is None:
            earlier = None
        stem = self.graphs.path / f"{self.model_id}-{os.urandom(6).hex()}"
        paths = stem.with_suffix(".usearch"), stem.with_suffix(".codes")
        with ExitStack() as drafts:
            for path in paths:
                drafts.callback(path.unlink, missing_ok=True)
            graph, codes = begun or (Hnsw.new(self.dimension, self.options), None)
            with paths[1].open("wb") as file:
                writer = CodesWriter(file, codes)
                last_id = self._fill(graph, writer, earlier, progress, cancelled)
                writer.finish()
            if last_id is None:
                return Outcome.CANCELLED
            graph.save(paths[0])
            self._publish(earlier, writer.count, last_id, paths)
            drafts.pop_all()
        return Outcome.BUILT if earlier is None else Outcome.EXTENDED

    def _begun(self, earlier: GraphFile | None) -> tuple[Hnsw, Codes] | None:
        """A copy of an earlier graph in memory, and its codes; None where it cannot be read."""
        if earlier is None:
            return None
        folder = self.graphs.path
        try:
            graph = Hnsw.loaded(folder / earlier.graph.name, self.options)
            return graph, Codes(folder / earlier.codes.name, earlier.count, earlier.dimension)
        except (OSError, ValueError):
            return None

    def _fill(
        self,
        graph: Hnsw,
        codes: CodesWriter,
        earlier: GraphFile | None,
        progress: Progress,
        cancelled: Cancelled,
    ) -> int | None:
        """Add all newer embeddings; the number of the last one, or None if it is stopped."""
        last_id = 0 if earlier is None else earlier.last_id
        gone = 0 if earlier is None else earlier.count - earlier.alive
        while not cancelled():
            rows = self.source.embeddings_after(self.model_id, last_id, self.options.page)
            if not rows:
                return max(last_id, self.state.last_id)
            ids, vectors = decoded(rows)
            page, scales = encoded(vectors)
            graph.add(ids, page, self.options.threads)
            codes.add(ids, page, scales)
            last_id = int(ids[-1])
            progress(codes.count, max(codes.count, self.state.count + gone))
        return None

    def _publish(
        self, earlier: GraphFile | None, count: int, last_id: int, paths: tuple[Path, Path]
    ) -> None:
        self.graphs.publish(
            GraphFile(
                format=FORMAT,
                database_id=self.state.database_id,
                model_id=self.model_id,
                generation=self.state.generation,
                dimension=self.dimension,
                last_id=last_id,
                count=count,
                alive=count if earlier is None else count - earlier.count + earlier.alive,
                graph=self.graphs.part(paths[0]),
                codes=self.graphs.part(paths[1]),
            )
        )


def _silent(done: int, total: int) -> None:
    """Ignore progress."""


def _never() -> bool:
    """A build that nobody stops."""
    return False

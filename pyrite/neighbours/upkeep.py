"""The upkeep of the graph of neighbours while a worker embeds.

The graph is a copy of what the database holds, for bases that are too large to compare a query
with every vector. It is brought up to date in a thread of its own, when enough is new; a
search looks at what is newer than the graph by itself, so nothing waits for this.
"""

from __future__ import annotations

import threading

import trio

from actors.retry import StorageRetry
from pyrite.config.settings import Settings
from pyrite.storage.protocol import Storage

#: How often the graph is checked, in seconds.
CHECK_EVERY_S = 10.0


class _Progress:
    """The progress of one build, and the event that stops it."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        #: How many embeddings are in the graph, of how many.
        self.done: tuple[int, int] | None = None

    def report(self, done: int, total: int) -> None:
        """Note how far it is."""
        self.done = done, total


class GraphUpkeep:
    """Builds and extends one model's graph, as is due."""

    def __init__(
        self, storage: Storage, model_id: int, settings: Settings, retry: StorageRetry | None = None
    ) -> None:
        self._storage = storage
        self._model_id = model_id
        self._settings = settings
        self._retry = retry or StorageRetry()
        #: A build that was given up goes on to the end of its page; the next one waits for it.
        self._updating = threading.Lock()
        self._progress: _Progress | None = None

    @property
    def building(self) -> tuple[int, int] | None:
        """While a graph is being built: how many embeddings are in it, of how many."""
        return None if self._progress is None else self._progress.done

    async def run(self) -> None:
        """Bring the graph up to date now and then until cancelled, which gives a build up."""
        while True:
            await trio.sleep(CHECK_EVERY_S)
            await self._retry(self.update)

    async def update(self) -> None:
        """Bring the graph up to date if it is due."""
        # Of its own: the thread of a build that was given up still reports what it has done.
        self._progress = progress = _Progress()
        try:
            await trio.to_thread.run_sync(self._update, progress, abandon_on_cancel=True)
        finally:
            progress.stopped.set()
            self._progress = None

    def _update(self, progress: _Progress) -> None:
        state = self._storage.embedding_state(self._model_id)
        if state.count <= self._settings.exact_vectors:
            return
        # Imported only here: a small base needs no graph, and the library takes a second.
        from pyrite.neighbours.build import update_graph  # noqa: PLC0415
        from pyrite.neighbours.entries import graph_options  # noqa: PLC0415

        with self._updating:
            update_graph(
                self._storage,
                self._model_id,
                self._settings.graphs_path,
                options=graph_options(self._settings),
                progress=progress.report,
                cancelled=progress.stopped.is_set,
            )

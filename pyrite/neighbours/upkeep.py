"""Keeping the graph of neighbours in step while a worker embeds.

The graph is a copy of what the database holds, for bases that are too large to compare a query
with every vector. It is brought up to date in a thread of its own, when enough is new; a
search looks at what is newer than the graph by itself, so nothing waits for this.
"""

from __future__ import annotations

import threading

import trio

from pyrite.config.settings import Settings
from pyrite.storage.protocol import Storage

#: How often it is looked whether the graph is due, in seconds.
LOOK_S = 10.0


class GraphUpkeep:
    """Builds and extends one model's graph, as is due."""

    def __init__(self, storage: Storage, model_id: int, settings: Settings) -> None:
        self._storage = storage
        self._model_id = model_id
        self._settings = settings
        #: While a graph is being built: how many embeddings are in it, of how many.
        self.building: tuple[int, int] | None = None

    async def run(self) -> None:
        """Look now and then until cancelled; a build in progress is then given up."""
        while True:
            await trio.sleep(LOOK_S)
            await self.update()

    async def update(self) -> None:
        """Bring the graph up to date if it is due."""
        stopped = threading.Event()
        try:
            await trio.to_thread.run_sync(self._update, stopped, abandon_on_cancel=True)
        finally:
            stopped.set()
            self.building = None

    def _update(self, stopped: threading.Event) -> None:
        state = self._storage.embedding_state(self._model_id)
        if state.count <= self._settings.exact_vectors:
            return
        # Imported only here: a small base needs no graph, and the library takes a second.
        from pyrite.neighbours.build import update_graph  # noqa: PLC0415
        from pyrite.neighbours.entries import graph_options  # noqa: PLC0415

        update_graph(
            self._storage,
            self._model_id,
            self._settings.graphs_path,
            options=graph_options(self._settings),
            progress=self._say,
            cancelled=stopped.is_set,
        )

    def _say(self, done: int, total: int) -> None:
        self.building = done, total

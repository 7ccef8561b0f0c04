"""All services of one process, made from its settings: the one place that puts them together.

The server, the MCP server and each command begin with one of these. Each service is made, and its
module imported, when it is first asked for: a command that reads a count loads neither a model
nor the libraries around it.
"""
# ruff: noqa: PLC0415 - importing late is what this module is for

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrite.auth.tokens import TokenService
    from pyrite.config.settings import Settings
    from pyrite.embedding.service import EmbeddingService
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.knowledge.service import KBService
    from pyrite.search.links import LinkService
    from pyrite.search.service import SearchService
    from pyrite.storage.sqlite.store import SqliteStorage
    from pyrite.vault.sync import FolderSync


class Services:
    """Settings, storage, encoder and services of one process.

    Making one opens nothing. It is made and closed by one thread. Where several use it, whatever
    they use is to be asked for once before: two threads could make the same service twice.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        *,
        storage: SqliteStorage | None = None,
        encoder: TextEncoder | None = None,
        clock: Callable[[], float] = time.time,
        say: Callable[[str], None] = lambda _: None,
        shares_encoder: bool = False,
    ) -> None:
        """Take what there is already; everything else is made when it is first asked for.

        Args:
            environ: what goes before the configuration file; the process's own, if not given.
            settings: those in force; read from the environment and the file, if not given.
            storage: the database; whoever opened it closes it. Opened and closed here, if not
                given.
            encoder: makes the embeddings, if it is not the one that the settings name.
            clock: the time since the epoch.
            say: is told what takes long while a model is prepared, in a line for people.
            shares_encoder: whether a worker in this process uses the same encoder as searches.
        """
        self.environ = os.environ if environ is None else environ
        self.clock = clock
        self._say = say
        self._shares_encoder = shares_encoder
        self._opened = ExitStack()
        self._listeners: list[Callable[[], None]] = []
        if settings is not None:
            self.settings = settings
        if storage is not None:
            self.storage = storage
        if encoder is not None:
            self.encoder = encoder

    def close(self) -> None:
        """Close what was opened here."""
        self._opened.close()

    def on_write(self, listener: Callable[[], None]) -> None:
        """Have the listener called after each write of this process, in the thread that wrote."""
        self._listeners.append(listener)

    def wrote(self) -> None:
        """Tell the listeners that something was committed."""
        for listener in self._listeners:
            listener()

    @cached_property
    def settings(self) -> Settings:
        """The settings in force."""
        from pyrite.config import loading

        return loading.load(self.environ)

    @cached_property
    def storage(self) -> SqliteStorage:
        """The database, created if there is none.

        Raises:
            StorageError: it cannot be opened.
        """
        from pyrite.storage.sqlite.store import SqliteStorage

        storage = SqliteStorage(self.settings.database_path)
        self._opened.callback(storage.close)
        return storage

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder, not yet loaded."""
        from pyrite.encoders.choose import encoder_of

        return encoder_of(self.settings, self._say)

    @cached_property
    def kbs(self) -> KBService:
        """Knowledge bases and entries."""
        from pyrite.knowledge.service import KBService

        return KBService(self.storage, self.settings, clock=self.clock, wake=self.wrote)

    @cached_property
    def embedding(self) -> EmbeddingService:
        """The queue: what is embedded, waits or has failed."""
        from pyrite.embedding.service import EmbeddingService

        return EmbeddingService(self.storage, self.settings, self.clock)

    @cached_property
    def sync(self) -> FolderSync:
        """Bringing the index in step with the folders."""
        from pyrite.vault.sync import FolderSync

        return FolderSync(self.storage, self.settings, self.clock)

    @cached_property
    def search(self) -> SearchService:
        """Searching; no model is loaded and no vector read yet."""
        from pyrite.search.service import SearchService

        encoder = self.encoder
        if self._shares_encoder:
            from pyrite.encoders.threads import PoliteQueries

            queries = PoliteQueries(encoder, self.settings.niceness)
            return SearchService(self.storage, queries, self.settings, self.clock)
        return SearchService(self.storage, encoder, self.settings, self.clock)

    @cached_property
    def links(self) -> LinkService:
        """Links between entries."""
        from pyrite.search.links import LinkService

        return LinkService(self.storage, self.kbs, self.settings)

    @cached_property
    def tokens(self) -> TokenService:
        """The tokens of those who may use the server."""
        from pyrite.auth.tokens import TokenService

        return TokenService(self.storage, self.clock)

"""What the commands work with, made when a command first asks for it."""
# ruff: noqa: PLC0415 - importing late is what this module is for

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import click

from pyrite.cli.commands.completion import kb_names

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.embedding.service import EmbeddingService
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.knowledge.service import KBService
    from pyrite.search.service import SearchService
    from pyrite.storage.records import KnowledgeBase
    from pyrite.storage.sqlite.store import SqliteStorage
    from pyrite.vault.sync import FolderSync


def make_encoder(settings: Settings) -> TextEncoder:
    """The encoder that the settings name; it loads nothing yet."""
    from pyrite.cli.output import note
    from pyrite.encoders.choose import encoder_of

    return encoder_of(settings, note)


class App:
    """Settings, storage and services of one run of the command."""

    def __init__(self, *, debug: bool = False) -> None:
        self.debug = debug
        self._exit = ExitStack()

    def close(self) -> None:
        """Release what was opened."""
        self._exit.close()

    @cached_property
    def settings(self) -> Settings:
        """The settings in force."""
        from pyrite.config import loading

        return loading.load(os.environ)

    @cached_property
    def storage(self) -> SqliteStorage:
        """The database, created if there is none."""
        from pyrite.storage.sqlite.store import SqliteStorage

        storage = SqliteStorage(self.settings.database_path)
        self._exit.callback(storage.close)
        return storage

    @cached_property
    def kbs(self) -> KBService:
        """Knowledge bases and entries."""
        from pyrite.knowledge.service import KBService

        return KBService(self.storage, self.settings)

    @cached_property
    def embedding(self) -> EmbeddingService:
        """The queue."""
        from pyrite.embedding.service import EmbeddingService

        return EmbeddingService(self.storage, self.settings)

    @cached_property
    def sync(self) -> FolderSync:
        """Folders and the index."""
        from pyrite.vault.sync import FolderSync

        return FolderSync(self.storage, self.settings)

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder, not yet loaded."""
        return make_encoder(self.settings)

    @cached_property
    def search(self) -> SearchService:
        """Searching; no model is loaded and no vector read yet."""
        from pyrite.search.service import SearchService

        return SearchService(self.storage, self.encoder, self.settings)

    def kb_named(self, name: str | None) -> KnowledgeBase:
        """The knowledge base of that name, or the only one there is.

        Raises:
            NotFoundError: none has the name.
            UsageError: no name was given, and there is not exactly one.
        """
        if name is not None:
            return self.kbs.kb(name)
        kbs = self.kbs.kbs()
        if not kbs:
            raise click.UsageError(
                "There is no knowledge base yet. `pyrite kb add NAME FOLDER` registers one."
            )
        if len(kbs) > 1:
            names = ", ".join(kb.name for kb in kbs)
            raise click.UsageError(f"Say which knowledge base, with --kb NAME: {names}.")
        return kbs[0]


pass_app = click.make_pass_decorator(App)

Decorator = Callable[[Callable[..., object]], Callable[..., object]]


def kb_option(text: str) -> Decorator:
    """The option that names a knowledge base."""
    return click.option("--kb", metavar="NAME", help=text, shell_complete=kb_names)


def json_option() -> Decorator:
    """The option that asks for JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

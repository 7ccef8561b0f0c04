"""What the commands work with, made when a command first asks for it."""
# ruff: noqa: PLC0415 - importing late is what this module is for

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import click

from pyrite.cli.commands.completion import kb_names
from pyrite.services.services import Services

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import TextEncoder
    from pyrite.storage.records import KnowledgeBase
    from pyrite.storage.sqlite.store import SqliteStorage


def make_encoder(settings: Settings) -> TextEncoder:
    """The encoder that the settings name; it loads nothing yet."""
    from pyrite.cli.output import note
    from pyrite.encoders.choose import encoder_of

    return encoder_of(settings, note)


class App(Services):
    """The services of one run of the command."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__()
        self.debug = debug

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder, not yet loaded; what takes long is said on standard error."""
        return make_encoder(self.settings)

    @cached_property
    def storage(self) -> SqliteStorage:
        """The database; where it can only be read, a line says so."""
        storage = super().storage
        if storage.is_read_only:
            from pyrite.cli.output import note

            note(
                f"pyrite: the database {storage.path} can only be read here: what reads works, and "
                "what writes is refused"
            )
        return storage

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

"""``pyrite completion``: commands, options, knowledge bases and entries completed by the shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pyrite.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrite.storage.protocol import Storage

    Complete = Callable[[click.Context, click.Parameter, str], list[str]]

#: The variable by which a shell's script asks the command for completions.
_VARIABLE = "_PYRITE_COMPLETE"

#: Entries offered at a time: a shell asks before it shows more.
_MOST = 1_000


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options, names and ids.

    \b
    Examples:
      eval "$(pyrite completion bash)"          in ~/.bashrc
      eval "$(pyrite completion zsh)"           in ~/.zshrc
      pyrite completion fish > ~/.config/fish/completions/pyrite.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    made = get_completion_class(shell)
    assert made is not None
    say(made(ctx.find_root().command, {}, "pyrite", _VARIABLE).source(), wrap=False)


def kb_names(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """The knowledge bases whose names begin so."""
    return _found(lambda storage: [kb.name for kb in storage.kbs() if kb.name.startswith(begun)])


def entry_ids(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The entries of the knowledge base named so far, or of all, whose ids begin so."""
    kb = ctx.params.get("kb")

    def ids(storage: Storage) -> list[str]:
        kbs = [each.name for each in storage.kbs()] if kb is None else [kb]
        found = [entry_id for name in kbs for entry_id in storage.files(name)]
        return sorted({entry_id for entry_id in found if entry_id.startswith(begun)})[:_MOST]

    return _found(ids)


def _found(look: Callable[[Storage], list[str]]) -> list[str]:
    """What a look at the database finds; nothing where there is none, or it cannot be read."""
    from pyrite.config import loading  # noqa: PLC0415
    from pyrite.errors import PyriteError  # noqa: PLC0415
    from pyrite.storage.sqlite.store import SqliteStorage  # noqa: PLC0415

    try:
        path = loading.load(os.environ).database_path
        if not path.exists():
            return []
        storage = SqliteStorage(path)
    except PyriteError:
        # Whoever presses the tabulator is not to be told of errors.
        return []
    try:
        return look(storage)
    finally:
        storage.close()

"""``pyrite config``: the settings in force, and changing those in the file."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import note, print_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyrite.config.loading import Value


@click.group()
def config() -> None:
    """Show and change the settings."""


@config.command("list")
@json_option()
@pass_app
def list_settings(app: App, *, as_json: bool) -> None:
    """List every setting with its value and where that comes from.

    \b
    Example:
      PYRITE_THREADS=1 pyrite config list
    """
    from pyrite.config.loading import PREFIX, origins  # noqa: PLC0415

    rows = origins(app.settings, os.environ)
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(
            {
                row.name: commands.Setting(value=row.value, source=row.source, help=row.help)
                for row in rows
            }
        )
        return
    table(
        ("setting", "value", "from", "what it is"),
        [(row.name, in_words(row.value), row.source, row.help) for row in rows],
    )
    path = app.settings.config_path
    note(f"`pyrite config set NAME VALUE` sets one in {path}, and {PREFIX}NAME=value for once.")


@config.command("get")
@click.argument("name")
@json_option()
@pass_app
def get_setting(app: App, name: str, *, as_json: bool) -> None:
    """Show the value of one setting.

    \b
    Example:
      pyrite config get threads
    """
    from pyrite.config.loading import origins, require_known  # noqa: PLC0415

    found = next((row for row in origins(app.settings, os.environ) if row.name == name), None)
    if found is None:
        with _said_here():
            require_known(name, "config get")
        return
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(commands.Setting(**asdict(found)))
    else:
        say(in_words(found.value))


# A value may begin with a dash: a number below zero is to be refused for what it is.
@config.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value")
@json_option()
def set_setting(name: str, value: str, *, as_json: bool) -> None:
    """Write a setting into the configuration file.

    Everything else in the file stays as it is. A running worker follows threads, batch_texts,
    batch_tokens, idle_unload_s and paused within a second; the other settings count from the
    next command on.

    \b
    Example:
      pyrite config set threads 2
      pyrite config set paused true
    """
    from pyrite.config.file import set_value  # noqa: PLC0415
    from pyrite.config.loading import checked, require_known, require_no_secret  # noqa: PLC0415

    path = _path(name)
    with _said_here():
        require_known(name, "config set")
        require_no_secret(name, "config set")
        checked(name, value, "config set")
    written = set_value(path, name, value)
    overridden = _overridden(name)
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(
            commands.SettingWritten(
                name=name, value=written, file=str(path), overridden_by=overridden
            )
        )
    else:
        say(f"{name} is {in_words(written) or 'empty'} in {path}")


@config.command("unset")
@click.argument("name")
@json_option()
def unset_setting(name: str, *, as_json: bool) -> None:
    """Take a setting out of the configuration file, so that it has its default again.

    \b
    Example:
      pyrite config unset threads
    """
    from pyrite.config.file import unset  # noqa: PLC0415
    from pyrite.config.loading import require_known  # noqa: PLC0415

    path = _path(name)
    # What stands in the file by mistake can be taken out, whatever it is called.
    removed = unset(path, name)
    if not removed:
        with _said_here():
            require_known(name, "config unset")
    overridden = _overridden(name)
    if as_json:
        from pyrite.api import commands  # noqa: PLC0415

        print_json(
            commands.SettingRemoved(
                name=name, removed=removed, file=str(path), overridden_by=overridden
            )
        )
    elif removed:
        say(f"{name} is no longer set in {path}")
    else:
        say(f"{name} was not set in {path}")


@contextmanager
def _said_here() -> Iterator[None]:
    """A setting that cannot be is wrong usage where the command line itself names it."""
    from pyrite.errors import ConfigError  # noqa: PLC0415

    try:
        yield
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def in_words(value: Value) -> str:
    """A value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _path(name: str) -> Path:
    """The configuration file, which need not be valid, for it may be about to be repaired."""
    from pyrite.config.loading import PREFIX, find_home  # noqa: PLC0415
    from pyrite.config.settings import FILE_NAME  # noqa: PLC0415

    if name == "home":
        raise click.UsageError(
            f"home cannot stand in {FILE_NAME}, which lies in it; set {PREFIX}HOME instead"
        )
    return find_home(os.environ) / FILE_NAME


def _overridden(name: str) -> str | None:
    """The environment variable that goes before the file, with a warning, if there is one."""
    from pyrite.config.loading import PREFIX, shown  # noqa: PLC0415
    from pyrite.config.settings import FILE_SETTINGS  # noqa: PLC0415

    variable = f"{PREFIX}{name.upper()}"
    if variable not in os.environ or name not in {spec.name for spec in FILE_SETTINGS}:
        return None
    note(f"{variable}={shown(name, os.environ[variable])} in the environment goes before the file.")
    return variable

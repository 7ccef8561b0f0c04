"""``pyrite mcp``: the knowledge bases for programs that speak the Model Context Protocol."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pyrite.cli import context
from pyrite.cli.context import App, pass_app
from pyrite.cli.output import note
from pyrite.services.services import Services

if TYPE_CHECKING:
    from pyrite.config.settings import Settings

#: Beside the service's own port, so that both can run.
_PORT = 8708


@click.command()
@click.option(
    "--tier",
    type=click.Choice(("read", "write", "admin")),
    default="read",
    show_default=True,
    help="What clients may do: read; also write entries; also add and remove knowledge bases.",
)
@click.option("--http", is_flag=True, help="Serve streamable HTTP instead of standard input.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="With --http, listen on this address; any but this computer's own needs tokens.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    show_default=True,
    help="With --http, listen on this port; 0 is a free one.",
)
@pass_app
def mcp(app: App, *, tier: str, http: bool, host: str, port: int) -> None:
    """Serve the knowledge bases to agents, over the Model Context Protocol.

    A client starts this command and speaks to it over standard input and output. With --http it
    is a server of its own, at http://HOST:PORT/mcp, as `pyrite serve` has one. It never starts a
    worker: what is written while none runs is embedded at once.

    \b
    Examples:
      pyrite mcp
      pyrite mcp --tier write
      pyrite mcp --http --port 8708
    """
    for name in ("host", "port"):
        given = (
            click.get_current_context().get_parameter_source(name)
            is click.core.ParameterSource.COMMANDLINE
        )
        if given and not http:
            raise click.UsageError(f"--{name} goes with --http.")
    if http:
        _serve_http(replace(app.settings, host=host, port=port), app, tier)
        return
    if sys.stdin.isatty():
        note("Waiting for an MCP client on standard input; Ctrl-C ends it.")
    # Imported only here: the SDK takes most of a second.
    import trio  # noqa: PLC0415

    from actors.pipeline import cause  # noqa: PLC0415
    from pyrite.auth.tokens import Tier  # noqa: PLC0415
    from pyrite.mcp.stdio import serve_stdio  # noqa: PLC0415

    try:
        trio.run(serve_stdio, app, Tier(tier))
    except BaseExceptionGroup as group:
        raise cause(group) from None


def _serve_http(settings: Settings, app: App, tier: str) -> None:
    from pyrite.auth.tokens import Tier  # noqa: PLC0415
    from pyrite.server import main  # noqa: PLC0415

    services = Services(app.environ, settings, encoder=context.make_encoder(settings))
    code = main.serve(
        services,
        say=lambda address: note(f"MCP server for the tier {tier} at {address}/mcp"),
        only_mcp=Tier(tier),
    )
    # A thread that hangs, or loads the model, must not hold up the end.
    main.leave(code)

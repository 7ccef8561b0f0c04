"""``pyrite serve``: the service, until it is told to stop."""

from __future__ import annotations

import click

from pyrite.cli import context
from pyrite.cli.context import App
from pyrite.services.services import Services


@click.command()
@click.option("--host", metavar="ADDRESS", help="Listen on this address, not the setting `host`.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="NUMBER",
    help="Listen on this port, not the setting `port`; 0 takes a free one.",
)
@click.pass_obj
def serve(app: App, *, host: str | None, port: int | None) -> None:
    """Serve the REST API, the live feed and MCP, and embed what is queued, until stopped.

    Prints the address once it is ready. Ctrl-C or SIGTERM finishes what has begun and stops; a
    second one ends at once. The exit code is 0 after a stop, and 1 or 70 if the service failed.

    \b
    Examples:
      pyrite serve
      pyrite serve --port 0
    """
    # Imported only here: no other command needs a server.
    from dataclasses import replace  # noqa: PLC0415

    from pyrite.server import main  # noqa: PLC0415

    settings = app.settings
    if host is not None:
        settings = replace(settings, host=host)
    if port is not None:
        settings = replace(settings, port=port)
    services = Services(
        app.environ, settings, encoder=context.make_encoder(settings), shares_encoder=True
    )
    code = main.serve(services)
    # A thread that hangs, or loads the model, must not hold up the end.
    main.leave(code)

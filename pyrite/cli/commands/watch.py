"""``pyrite watch``: the server's feed in the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.context import App
from pyrite.cli.output import note, print_json_line, say

if TYPE_CHECKING:
    from pyrite.config.settings import Settings

_INTERRUPTED = 130

#: What people are shown unless they ask for something else.
_SHOWN = (
    "embed_complete",
    "embed_failed",
    "entry_created",
    "entry_updated",
    "entry_deleted",
    "kb_added",
    "kb_removed",
)

_SECOND_MS = 1000

#: As wide as the longest type.
_WIDTH = 14


@click.command()
@click.option("--url", help="The server, as http://HOST:PORT; else that of the settings.")
@click.option(
    "--since", type=click.IntRange(min=0), metavar="SEQ", help="Begin after this event, not now."
)
@click.option("--kb", "kbs", multiple=True, metavar="NAME", help="Only this knowledge base.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice((*_SHOWN, "status")),
    metavar="TYPE",
    help="Only this type of event.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.pass_context
def watch(
    ctx: click.Context,
    *,
    url: str | None,
    since: int | None,
    kbs: tuple[str, ...],
    types: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what happens to entries, as the server tells of it, until Ctrl-C.

    When the server goes away, it is tried again until it is back, and nothing is missed. The
    types are those shown, and `status`: how much of everything is embedded.

    \b
    Examples:
      pyrite watch
      pyrite watch --kb notes --type embed_complete --type embed_failed
      pyrite watch --json --since 1200
    """
    # Imported only here: the other commands need neither.
    import trio  # noqa: PLC0415

    from pyrite.client.feed import Callbacks, FeedRequest, follow  # noqa: PLC0415

    app: App = ctx.obj
    settings = app.settings
    wanted = types or (() if as_json else _SHOWN)
    request = FeedRequest(url or server_url(settings), settings.token, kbs, wanted)
    callbacks = Callbacks(
        message=_print_json if as_json else _print_line,
        lost=lambda why, known: note(
            f"{'lost' if known else 'cannot reach'} the server at {request.server} ({why}); "
            "trying again ..."
        ),
        regained=lambda: note("the server is back"),
    )

    async def run() -> None:
        await follow(request, callbacks, since=since)

    try:
        trio.run(run)
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)


def server_url(settings: Settings) -> str:
    """Where the settings say that the server is."""
    if settings.server:
        return settings.server
    # A server that listens everywhere is called by the name of here.
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced
    host = here.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _print_json(_: str, message: dict[str, Any]) -> None:
    print_json_line(message)


def _print_line(_: str, message: dict[str, Any]) -> None:
    say(line(message), flush=True)


def line(message: dict[str, Any]) -> str:
    """A message as people read it: when, what, which, and how long it took or why."""
    at = message.get("embedded_at", message.get("at"))
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    kind = str(message["type"])
    return f"{clock}  {kind:<{_WIDTH}}  {_words(message)}".rstrip()


def _words(message: dict[str, Any]) -> str:
    if message["type"] == "gap":
        if message.get("reason") == "unknown_seq":
            return "the server knows no such event; it may have another database by now"
        return f"events {message['from']} to {message['to']} are not kept any more"
    if message["type"] == "status":
        return ", ".join(
            f"{message.get(name, 0):,} {name}" for name in ("pending", "processing", "failed")
        )
    place = message.get("kb") or ""
    if message.get("id"):
        place = f"{place}/{message['id']}"
    if "duration_ms" in message:
        return f"{place}  {_took(message['duration_ms'])}"
    return f"{place}  {message['error']}" if message.get("error") else str(place)


def _took(duration_ms: float) -> str:
    return f"{duration_ms:.0f} ms" if duration_ms < _SECOND_MS else f"{duration_ms / 1000:.1f} s"

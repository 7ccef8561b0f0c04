"""The command's entry point: options for all commands, and how errors reach the person.

Exit codes: 0 done, 1 something failed, 2 wrong usage, 70 a bug in Pyrite, 130 and 143 stopped
by Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

import click

from actors.ports import StorageUnavailableError
from pyrite import __version__
from pyrite.cli.commands import (
    backup,
    completion,
    config,
    doctor,
    entries,
    handbook,
    imports,
    index,
    kb,
    links,
    mcp,
    search,
    serve,
    token,
    watch,
)
from pyrite.cli.context import App
from pyrite.cli.output import note
from pyrite.cli.streams import finish, open_streams
from pyrite.errors import InvalidQueryError, PyriteError

WRONG_USAGE = 2
BUG = 70
INTERRUPTED = 130

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_DATABASE_FULL = "database or disk is full"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes: 0 done, 1 something failed, 2 wrong usage, 70 a bug in Pyrite,
130 stopped by Ctrl-C, 143 stopped by SIGTERM.""",
)
@click.version_option(__version__, prog_name="pyrite")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Search folders of Markdown by meaning and by words.

    \b
    Example:
      pyrite kb add notes ~/notes      register a folder
      pyrite index sync                read its files
      pyrite index embed               make them searchable
      pyrite search "what did we decide about backups?"
    """
    ctx.obj = App(debug=debug)
    ctx.call_on_close(ctx.obj.close)


for command in (
    *(kb.kb, entries.create, entries.update, entries.get, entries.delete, entries.list_entries),
    *(index.index, search.search, search.related, serve.serve, mcp.mcp, watch.watch, token.token),
    *(links.links, imports.import_entries, imports.export),
    *(backup.backup, backup.compact, doctor.doctor, config.config, completion.completion),
    handbook.handbook,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    open_streams()
    sys.exit(finish(run(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run the command; every error becomes a line on stderr and an exit code."""
    try:
        result = cli.main(list(arguments), prog_name="pyrite", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("pyrite: interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has gone. Click ends the program for that, and for no other
        # reason where it has been told not to stand alone.
        return 0
    except PyriteError as error:
        if "--debug" in arguments:
            raise
        note(f"pyrite: {error}")
        # What is searched for, and by which filters, has been said in the command itself.
        return WRONG_USAGE if isinstance(error, InvalidQueryError) else 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        if _is_no_space(error):
            note(
                f"pyrite: there is no space left on a disk ({error}): make room and run the "
                "command again; nothing that was written is lost, and `pyrite doctor` says how "
                "much is free beside the database"
            )
            return 1
        if isinstance(error, StorageUnavailableError):
            note(f"pyrite: {_unavailable(error)}")
            return 1
        note(
            f"pyrite: {type(error).__name__}: {error}\n"
            "This is a bug in Pyrite, or a fault of the machine under it; nothing that was "
            "written is lost.\nRun the command again with `pyrite --debug ...` for the traceback."
        )
        return BUG
    return result if isinstance(result, int) else 0


def _unavailable(error: StorageUnavailableError) -> str:
    """What to say of a database that is busy, full or away: the cause, and what to do."""
    # Imported only here: most commands meet no such thing.
    from pyrite.storage.sqlite.faults import fault_of  # noqa: PLC0415

    fault = fault_of(error)
    return str(error) if fault is None else f"{fault.text} ({error}): {fault.action}"


def _is_no_space(error: Exception) -> bool:
    """Whether the system, or SQLite, says that a disk is full."""
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    # SQLITE_FULL, of whichever of the modules that there are for SQLite.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "OperationalError" in kinds and str(error) == _DATABASE_FULL

"""``pyrite doctor``: is everything as it should be?"""

from __future__ import annotations

from dataclasses import asdict

import click

from pyrite.cli.context import App, json_option
from pyrite.cli.output import print_json, say


@click.command()
@json_option()
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Check versions, the model, the database, the queue and the folders.

    Each finding comes with what to do about it. The exit code is 1 if one is an error.

    \b
    Example:
      pyrite doctor
    """
    from pyrite.errors import ConfigError  # noqa: PLC0415
    from pyrite.services.doctor import Level, examine, unsettled  # noqa: PLC0415

    app: App = ctx.obj
    findings = []
    try:
        found = examine(app.settings, lambda: app.storage)
    except ConfigError as error:
        found = unsettled(error)
    for finding in found:
        findings.append(finding)
        if not as_json:
            say(f"{finding.subject}: {finding.text}", margin=f"{finding.level.value:8} ")
            if finding.action:
                say(f"-> {finding.action}", margin=" " * 9)
    if as_json:
        from pyrite.api.commands import Finding, Findings  # noqa: PLC0415

        print_json(Findings(findings=[Finding(**asdict(finding)) for finding in findings]))
    if any(finding.level is Level.ERROR for finding in findings):
        ctx.exit(1)

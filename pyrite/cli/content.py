"""What an entry is to say, as options of the commands that write one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyrite.cli.context import Decorator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrite.markdown.entry import JSON


def only_tags(
    ctx: click.Context, param: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse what is empty; a comma is a tag's own, since the option can be given several times.

    Raises:
        click.BadParameter: one of them is no tag.
    """
    from pyrite.markdown.entry import tags_of  # noqa: PLC0415

    for tag in given:
        if not tags_of([tag]):
            raise click.BadParameter(f"{tag!r} is no tag.", ctx, param)
    return given


_OPTIONS: tuple[Decorator, ...] = (
    click.option("--type", "entry_type", metavar="TYPE", help="What kind of entry it is."),
    click.option("--summary", help="One or two sentences."),
    click.option(
        "--tag",
        "tags",
        callback=only_tags,
        multiple=True,
        help="A tag; may be given several times.",
    ),
    click.option(
        "--field",
        "fields",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any other front-matter field; VALUE is YAML. May be given several times.",
    ),
    click.option("--body", help="The text, in Markdown; `-` reads it from standard input."),
    click.option(
        "--body-file",
        type=click.Path(path_type=Path),
        help="A file to take the text from.",
    ),
    click.option(
        "--no-embed",
        is_flag=True,
        help="Leave it queued, even if no worker is running that embeds it.",
    ),
)


def content_options(function: Callable[..., object]) -> Callable[..., object]:
    """Add the options; :func:`text_of` and :func:`fields_of` read what some were given."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def text_of(given: dict[str, Any]) -> str | None:
    """The text that --body or --body-file gives; None where neither does.

    Raises:
        click.UsageError: both do, or it cannot be read.
    """
    body: str | None = given["body"]
    path: Path | None = given["body_file"]
    if body is not None and path is not None:
        raise click.UsageError("Give either --body or --body-file.")
    try:
        if path is not None:
            return path.read_text(encoding="utf-8")
        return sys.stdin.read() if body == "-" else body
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The text is not UTF-8: {error}.") from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from error


def fields_of(pairs: tuple[str, ...]) -> dict[str, JSON]:
    """Front-matter fields from NAME=VALUE.

    Raises:
        click.UsageError: one is not of that form, is given twice, has an option of its own, or its
            value is not one value of YAML.
    """
    from pyrite.markdown.entry import OWN_FIELDS  # noqa: PLC0415
    from pyrite.markdown.frontmatter import FrontMatterError, parse  # noqa: PLC0415

    fields: dict[str, JSON] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--field takes NAME=VALUE, not {pair!r}.")
        if name in OWN_FIELDS:
            option = "tag" if name == "tags" else name
            raise click.UsageError(f"{name} is no extra field: give it with --{option}.")
        if name in fields:
            raise click.UsageError(f"--field {name} is given twice.")
        try:
            parsed = parse(f"value: {value}\n")
        except FrontMatterError as error:
            raise click.UsageError(
                f"The value of --field {name} is not YAML: {error.reason}. Quotes may help: "
                f"--field {name}='\"...\"'."
            ) from error
        if len(parsed) > 1:
            raise click.UsageError(
                f"The value of --field {name} is not one value. Quotes may help."
            )
        fields[name] = parsed["value"]
    return fields

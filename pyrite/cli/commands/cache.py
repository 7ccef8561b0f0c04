"""``pyrite index cache``: embeddings to carry elsewhere, and those that nobody needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pyrite.cli.context import App, json_option, pass_app
from pyrite.cli.output import count, print_json, say

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def cache() -> None:
    """Carry embeddings to another computer, or delete unused ones.

    \b
    Example:
      pyrite index cache export embeddings.db
    """


@cache.command("export")
@_FILE
@json_option()
@pass_app
def export(app: App, *, file: Path, as_json: bool) -> None:
    """Write all embeddings to FILE.

    FILE holds no texts, only hashes of them. Whoever has the same texts and the same model
    imports it and need not encode them.

    \b
    Example:
      pyrite index cache export embeddings.db
    """
    from pyrite.cli.progress import counting  # noqa: PLC0415
    from pyrite.embedding.cache import export_cache  # noqa: PLC0415

    with counting("exporting", quiet=as_json) as progress:
        exported = export_cache(app.storage, file, progress)
    if as_json:
        from pyrite.api.commands import CacheFile  # noqa: PLC0415

        print_json(CacheFile(file=str(file), **asdict(exported)))
    else:
        what = count(exported.embeddings, "embedding")
        say(f"wrote {what} of {count(exported.models, 'model')} to {file}")


@cache.command("import")
@_FILE
@json_option()
@pass_app
def import_(app: App, *, file: Path, as_json: bool) -> None:
    """Take in the embeddings of FILE; entries with such texts will not be encoded again.

    \b
    Example:
      pyrite index cache import embeddings.db
    """
    from pyrite.cli.progress import counting  # noqa: PLC0415
    from pyrite.embedding.cache import import_cache  # noqa: PLC0415

    with counting("importing", quiet=as_json) as progress:
        imported = import_cache(app.storage, file, progress)
    if as_json:
        from pyrite.api.commands import CacheFile  # noqa: PLC0415

        print_json(CacheFile(file=str(file), **asdict(imported)))
    else:
        say(f"read {count(imported.embeddings, 'embedding')}, {imported.added:,} of them new")


@cache.command()
@click.option("--all", "everything", is_flag=True, help="Keep none for texts that may come back.")
@json_option()
@pass_app
def prune(app: App, *, everything: bool, as_json: bool) -> None:
    """Delete embeddings that no entry has used for as long as the setting `unused_days` says.

    A worker does so by itself once a day. While entries are being embedded, nothing is deleted.

    \b
    Examples:
      pyrite index cache prune
      pyrite index cache prune --all
    """
    deleted = app.embedding.collect_unused(everything=everything)
    if as_json:
        from pyrite.api.commands import Pruned  # noqa: PLC0415

        print_json(Pruned(deleted=deleted))
    else:
        say(f"deleted {count(deleted, 'unused embedding')}")

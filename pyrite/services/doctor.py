"""A health check: what is installed, whether it is sound, and what to do about each finding."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from pyrite import __version__
from pyrite.config.addresses import is_loopback
from pyrite.config.settings import Settings
from pyrite.embedding.service import EmbeddingService
from pyrite.encoders.local.model_files import find
from pyrite.errors import (
    ConfigError,
    FilesMissingError,
    ModelError,
    NewerDatabaseError,
    NotFoundError,
    StorageError,
)
from pyrite.storage.protocol import Storage
from pyrite.storage.sqlite.connection import ASK_DOCTOR
from pyrite.storage.sqlite.driver import WAL_RESET_FIXED, sqlite3
from pyrite.storage.sqlite.faults import MAKE_ANEW, fault_of
from pyrite.vault.sync import FolderSync

_PACKAGES = (
    *("trio", "sqlite-utils", "sentence-transformers", "transformers", "torch", "numpy"),
    "usearch",
)
#: Those that Pyrite can do without.
_EXTRAS = ("openvino",)

#: Less than this on the database's disk is little, in bytes.
_LITTLE_SPACE = 500 * 10**6
_MEGABYTE = 10**6


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    #: What to do about it; empty where nothing is to be done.
    action: str = ""


def examine(settings: Settings, open_storage: Callable[[], Storage]) -> Iterator[Finding]:
    """Look at everything, cheapest first."""
    yield from versions()
    yield from model(settings)
    yield from disk(settings)
    try:
        storage = open_storage()
        yield from database(settings, storage)
        yield from emptiness(storage)
        yield from vectors(settings, storage)
        yield from queue(settings, storage)
        for kb in storage.kbs():
            yield from folder(FolderSync(storage, settings), storage, kb.name)
    except NewerDatabaseError as error:
        yield Finding(Level.ERROR, "database", str(error), "upgrade Pyrite")
    except StorageError as error:
        text = str(error).removesuffix(ASK_DOCTOR)
        yield Finding(Level.ERROR, "database", text, _action(error))
    except sqlite3.DatabaseError as error:
        text = f"{settings.database_path}: {error}"
        yield Finding(Level.ERROR, "database", text, _action(error))


def _action(error: Exception) -> str:
    """What to do about a database that cannot be used; only one that is damaged is moved away."""
    fault = fault_of(error)
    # Where there is no code, the message itself says what to do.
    return "" if fault is None else fault.action


def unsettled(error: ConfigError) -> Iterator[Finding]:
    """What can be looked at while the settings cannot be read: all else depends on them."""
    yield from versions()
    action = "mend that, and run `pyrite doctor` again: what else it looks at depends on it"
    yield Finding(Level.ERROR, "settings", str(error), action)


def versions() -> Iterator[Finding]:
    """What is installed."""
    yield Finding(Level.OK, "pyrite", f"{__version__} on Python {platform.python_version()}")
    found = sqlite3.sqlite_version
    if tuple(map(int, found.split("."))) < WAL_RESET_FIXED:
        wanted = ".".join(map(str, WAL_RESET_FIXED))
        yield Finding(
            Level.WARNING,
            "SQLite",
            f"{found} can damage a database that two processes write; {wanted} cannot",
            "run one process at a time, or install the package pysqlite3 where there is a wheel",
        )
    else:
        yield Finding(Level.OK, "SQLite", f"{found} ({sqlite3.__name__})")
    for package in _PACKAGES:
        try:
            yield Finding(Level.OK, package, version(package))
        except PackageNotFoundError:
            action = f"install Pyrite anew: `{sys.executable} -m pip install pyrite`"
            yield Finding(Level.ERROR, package, "is not installed", action)
    for package in _EXTRAS:
        with suppress(PackageNotFoundError):
            yield Finding(Level.OK, package, version(package))


def model(settings: Settings) -> Iterator[Finding]:
    """Whether the model is there, and is what it should be."""
    if settings.remote_url:
        yield from remote_model(settings)
        return
    try:
        files = find(settings.model)
        fingerprint = files.fingerprint()
    except ModelError as error:
        yield Finding(Level.ERROR, "model", str(error), "see the setting `model`")
        return
    text = f"{files.name}, reads {files.window()} tokens, fingerprint {fingerprint}"
    yield Finding(Level.OK, "model", f"{text}, in {files.path}")


def remote_model(settings: Settings) -> Iterator[Finding]:
    """Whether the embedding server can be used, and whether its key is kept well."""
    # Imported only here: they bring an HTTP client.
    from pyrite.encoders.remote.encoder import RemoteEncoder  # noqa: PLC0415

    encoder = RemoteEncoder(settings)
    try:
        encoder.load()
        window = encoder.window
    except ModelError as error:
        action = "`pyrite handbook` has a page on it: operations/remote-encoder"
        yield Finding(Level.ERROR, "model", str(error), action)
    else:
        yield Finding(
            Level.OK,
            "model",
            f"{encoder.name} at {settings.remote_url} gives {encoder.dimension} numbers; texts are "
            f"cut at {window} tokens; fingerprint {encoder.fingerprint()}",
        )
    finally:
        encoder.unload()
    yield from key_of_server(settings)


def key_of_server(settings: Settings) -> Iterator[Finding]:
    """Whether others could read the embedding server's key."""
    path = settings.remote_key_path
    if path is not None and os.name == "posix" and path.exists() and path.stat().st_mode & 0o077:
        text = f"others on this computer can read {path}"
        yield Finding(Level.WARNING, "key", text, f"`chmod 600 {path}`")
    parts = urlsplit(settings.remote_url)
    if (path or settings.remote_key) and not (
        parts.scheme == "https" or is_loopback(parts.hostname or "")
    ):
        yield Finding(
            Level.WARNING,
            "key",
            f"it is sent to {parts.hostname} without encryption, where the network can read it",
            "use https, or no key",
        )


def disk(settings: Settings) -> Iterator[Finding]:
    """Whether the database has room to grow."""
    path = settings.database_path
    try:
        free = shutil.disk_usage(next(each for each in path.parents if each.exists())).free
    except OSError:
        # Whatever the matter is, opening the database will say it.
        return
    text = f"{free // _MEGABYTE:,} MB are free beside {path}"
    if free < _LITTLE_SPACE:
        yield Finding(Level.WARNING, "disk", text, "make room: a full disk stops every write")
    else:
        yield Finding(Level.OK, "disk", text)


def database(settings: Settings, storage: Storage) -> Iterator[Finding]:
    """Whether the database is sound, and queue, vectors and entries agree."""
    problems = storage.problems()
    if not problems:
        yield Finding(
            Level.OK,
            "database",
            f"{settings.database_path} is sound; queue, vectors and entries agree",
        )
    for name, what in problems.items():
        yield Finding(
            Level.ERROR,
            "database",
            f"{name}: {what}",
            MAKE_ANEW,
        )


def emptiness(storage: Storage) -> Iterator[Finding]:
    """Whether much of a large database holds nothing."""
    space = storage.space()
    if space.worth_compacting:
        text = (
            f"{space.empty // _MEGABYTE:,} of the database's {space.size // _MEGABYTE:,} MB are "
            "empty, kept for what will be written"
        )
        yield Finding(Level.WARNING, "space", text, "`pyrite compact` gives the disk back")


def vectors(settings: Settings, storage: Storage) -> Iterator[Finding]:
    """How many embeddings there are, and how they are searched."""
    for model in storage.models():
        state = storage.embedding_state(model.model_id)
        if not state.count:
            continue
        text = f"{state.count:,} of {model.name}"
        if state.count <= settings.exact_vectors:
            yield Finding(Level.OK, "embeddings", f"{text}, all compared with at each search")
            continue
        # Imported only here: it brings numpy.
        from pyrite.neighbours.files import GraphState  # noqa: PLC0415
        from pyrite.neighbours.opening import inspect_graph  # noqa: PLC0415

        standing = inspect_graph(storage, model.model_id, settings.graphs_path)
        if standing is GraphState.USABLE:
            yield Finding(Level.OK, "embeddings", f"{text}, searched by a graph that is whole")
            continue
        where = settings.graphs_path
        yield Finding(
            Level.WARNING,
            "embeddings",
            f"{text}; the graph of neighbours in {where} is {standing.value}",
            f"delete the folder {where} if it is there; `pyrite index embed` builds the graph",
        )


def queue(settings: Settings, storage: Storage) -> Iterator[Finding]:
    """Whether everything is embedded, and whether somebody is at it."""
    status = EmbeddingService(storage, settings).status()
    counts = status.counts
    if counts.failed:
        yield Finding(
            Level.WARNING,
            "failures",
            f"{counts.failed:,} of {counts.total:,} entries could not be embedded",
            "`pyrite index embed --failed` says why; `--retry-failed` queues them again",
        )
    if counts.unfinished and status.worker is None:
        yield Finding(
            Level.WARNING,
            "queue",
            f"{counts.unfinished:,} of {counts.total:,} entries wait, and no worker is running",
            "`pyrite index embed` embeds them",
        )
    elif counts.unfinished:
        yield Finding(Level.OK, "queue", f"{counts.unfinished:,} of {counts.total:,} are under way")
    elif not counts.failed:
        yield Finding(
            Level.OK, "queue", f"{_count(counts.total, 'entry', 'entries')}, all embedded"
        )


def folder(sync: FolderSync, storage: Storage, name: str) -> Iterator[Finding]:
    """Whether a knowledge base's index and its folder agree."""
    kb = next(kb for kb in storage.kbs() if kb.name == name)
    try:
        check = sync.check(kb)
    except FilesMissingError as error:
        action = "bring the files back and sync; or, if they were deleted, `pyrite index sync "
        action += f"--kb {name} --accept-deletions`"
        yield Finding(Level.ERROR, f"folder of {name}", error.public, action)
        return
    except NotFoundError as error:
        yield Finding(
            Level.ERROR,
            f"folder of {name}",
            str(error),
            f"mount it, or forget it: `pyrite kb remove {name}`",
        )
        return
    for problem in check.problems:
        yield Finding(
            Level.WARNING, f"folder of {name}", str(problem), "mend the file, or move it out"
        )
    if kb.unavailable is not None:
        yield Finding(
            Level.WARNING,
            f"folder of {name}",
            f"the files are back, and writes still refused: {kb.unavailable} at the last sync",
            f"`pyrite index sync --kb {name}` takes note",
        )
    elif check.changed or check.gone:
        yield Finding(
            Level.WARNING,
            f"folder of {name}",
            f"{_count(check.changed, 'file', 'files')} new or changed, and {check.gone:,} gone, "
            "since the last sync",
            f"`pyrite index sync --kb {name}` takes note",
        )
    else:
        yield Finding(
            Level.OK, f"folder of {name}", f"{_count(check.files, 'file', 'files')}, all indexed"
        )


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"

"""Finding the entry files of a folder, quickly and without leaving it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pyrite.errors import InvalidEntryError, UnreadableFileError
from pyrite.markdown.ids import check_id, entry_id, is_entry_file
from pyrite.storage.records import FileStamp
from pyrite.vault.prepared_file import is_temporary


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An entry's file."""

    #: relative to the root, with '/' separators, spelled as on disk
    path: str
    id: str
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds, in the order of paths."""

    found: list[FoundFile] = field(default_factory=list)
    #: what looks like an entry but cannot be one, and folders that could not be listed
    problems: list[UnreadableFileError] = field(default_factory=list)
    #: those folders' paths with a '/' at the end, "" for the root: nothing is known below them
    unreadable_folders: list[str] = field(default_factory=list)
    #: hidden files that a writer has prepared, or left behind when it crashed
    leftovers: list[str] = field(default_factory=list)


def scan(root: Path) -> Scan:
    """Return the entry files below a folder; hidden names and other files are passed over.

    Nothing is raised for what is found: a file or folder at fault becomes a problem.
    """
    result = Scan()
    top = os.path.realpath(root)
    folders = [""]
    files: list[tuple[str, FileStamp]] = []
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(f"{top}/{folder}") as listing:
                everything = list(listing)
        except OSError as error:
            if folder and isinstance(error, FileNotFoundError):
                continue  # it was removed while we were walking
            result.unreadable_folders.append(folder)
            reason = f"the folder cannot be listed: {error.strerror}"
            result.problems.append(UnreadableFileError(folder.rstrip("/") or ".", reason))
            continue
        for entry in everything:
            if entry.name[0] == ".":
                if is_temporary(entry.name):
                    result.leftovers.append(folder + entry.name)
                continue
            try:
                _visit(entry, folder + entry.name, top, folders, files)
            except FileNotFoundError:
                continue
            except _Problem as problem:
                path = _printable(folder + entry.name)
                result.problems.append(UnreadableFileError(path, str(problem)))
            except OSError as error:
                reason = error.strerror or str(error)
                path = _printable(folder + entry.name)
                result.problems.append(UnreadableFileError(path, reason))
    _name(files, result)
    result.problems.sort(key=lambda problem: problem.path)
    result.unreadable_folders.sort()
    return result


class _Problem(Exception):  # noqa: N818 - a value on its way into Scan.problems
    """Why a path cannot be an entry."""


def _visit(
    entry: os.DirEntry[str],
    path: str,
    top: str,
    folders: list[str],
    files: list[tuple[str, FileStamp]],
) -> None:
    is_markdown = is_entry_file(entry.name)
    if entry.is_symlink():
        _check_link(Path(entry.path), top, is_markdown=is_markdown)
    elif entry.is_dir(follow_symlinks=False):
        _check_name(path)
        folders.append(f"{path}/")
    elif is_markdown:
        _check_name(path)
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise _Problem("it is a pipe, socket or device, not a file")
        files.append((path, FileStamp.of(status)))


def _check_link(link: Path, top: str, *, is_markdown: bool) -> None:
    """Pass over a link to something inside, which is found under its own name."""
    is_folder = link.is_dir()
    if not is_markdown and not is_folder:
        return
    if not link.exists():
        raise _Problem("it is a link that leads nowhere; remove it, or put a file in its place")
    if not link.resolve().is_relative_to(top):
        kind = "folder" if is_folder else "file"
        raise _Problem(f"it is a link out of the knowledge base; put the {kind} itself here")


def _check_name(path: str) -> None:
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            raise _Problem("its name is not UTF-8; rename it") from None


def _name(files: list[tuple[str, FileStamp]], result: Scan) -> None:
    """Give each file its id; of several with the same id, the first in order has it."""
    owners: dict[str, str] = {}
    for path, stamp in sorted(files):
        try:
            name = check_id(entry_id(path))
        except InvalidEntryError as error:
            result.problems.append(UnreadableFileError(_printable(path), f"{error}; rename it"))
            continue
        owner = owners.setdefault(name, path)
        if owner is path:
            result.found.append(FoundFile(path, name, stamp))
        else:
            reason = f"it has the same id, {name!r}, as {owner!r}; rename one of them"
            result.problems.append(UnreadableFileError(path, reason))


def _printable(path: str) -> str:
    text = os.fsencode(path).decode(errors="backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]

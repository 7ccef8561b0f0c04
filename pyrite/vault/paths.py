"""Where an entry's file may be: inside its knowledge base's folder, through no link.

A path that was looked at may lead elsewhere a moment later. So whoever reads or writes a file
holds its folder open, and names the file in it: what takes the folder's name meanwhile, such as
a link out of the knowledge base, is not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pyrite.errors import InvalidEntryError
from pyrite.markdown.ids import check_id, entry_id, is_entry_file

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def held_folder(root: Path, relative: str) -> Iterator[int]:
    """The descriptor of a file's folder, as :func:`open_folder` gives it, closed in the end."""
    descriptor = open_folder(root, relative)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_folder(root: Path, relative: str, *, make: bool = False) -> int:
    """Open the folder of a file, no link followed below the root, and return its descriptor.

    Args:
        root: the knowledge base's folder.
        relative: the file's path in it.
        make: make the folders that are missing below the root, durably.

    Raises:
        NotADirectoryError: a part of the path is a link, or no folder; some systems say ELOOP.
    """
    descriptor = os.open(root, _FOLDER)
    for name in relative.split("/")[:-1]:
        outer = descriptor
        try:
            descriptor = _open_inner(outer, name, make=make)
        finally:
            os.close(outer)
    return descriptor


def _open_inner(outer: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=outer)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=outer)
    os.fsync(outer)
    return _open_inner(outer, name, make=False)


def folder_status(root: Path) -> os.stat_result | None:
    """The stat of a folder, or None where it cannot be reached: no folder, or a disk that fails."""
    with suppress(OSError):
        status = root.stat()
        if stat.S_ISDIR(status.st_mode):
            return status
    return None


def linked_folder(root: str, relative: str) -> str | None:
    """Return the first folder on the way to a file that is a symbolic link, None if none is."""
    folder = root
    for name in relative.split("/")[:-1]:
        folder = f"{folder}/{name}"
        if os.path.islink(folder):  # noqa: PTH114 - three times as fast as a Path, once a folder
            return folder[len(root) + 1 :]
    return None


def resolve(root: Path, relative: str) -> Path:
    """Return where to write an entry's file, sure that it is inside the root.

    Below the root no link is followed, not even one that stays inside: a file has one path.

    Args:
        root: the knowledge base's folder.
        relative: the file's path in it, with '/' separators and the ending.

    Raises:
        InvalidEntryError: the path leads out of the root, through a link, or to no file.
    """
    check_id(entry_id(relative))
    if not is_entry_file(relative):
        raise InvalidEntryError(f"{relative!r} is no Markdown file: let it end in .md")
    if link := linked_folder(str(root), relative):
        raise InvalidEntryError(
            f"{relative!r} leads through the link {link!r}; use a real folder", field="id"
        )
    path = root / relative
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    except OSError as error:
        raise InvalidEntryError(
            f"{relative!r} cannot be a file: {error.strerror}", field="id"
        ) from error
    if not stat.S_ISREG(mode):
        raise InvalidEntryError(
            f"{relative!r} is a link, a folder or a device, not a file", field="id"
        )
    return path

"""Where an entry's file may be written: inside its knowledge base's folder, through no link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pyrite.errors import InvalidEntryError
from pyrite.markdown.ids import check_id, entry_id, is_entry_file


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

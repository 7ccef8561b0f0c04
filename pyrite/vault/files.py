"""Reading a file together with its identity, and removing one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyrite.errors import InvalidEntryError, UnreadableFileError
from pyrite.markdown import document
from pyrite.markdown.entry import Entry
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import check_id, entry_id
from pyrite.storage.records import FileStamp
from pyrite.vault.paths import held_folder, linked_folder

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file's content, with the stamp it had while it was read."""

    #: relative to the root
    path: str
    raw: bytes
    stamp: FileStamp
    #: BLAKE2b of the content, 16 bytes
    digest: bytes

    def entry(self) -> Entry:
        """Return the entry that the file holds.

        Raises:
            UnreadableFileError: the content cannot be read as an entry.
        """
        try:
            return document.read(self.raw, entry_id(self.path))
        except DocumentError as error:
            raise UnreadableFileError(self.path, error.reason, error.line) from error


def digest_of(raw: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest that tells contents apart."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def stamp_of(path: Path) -> FileStamp:
    """Return a file's stamp now; FileNotFoundError if there is none."""
    return FileStamp.of(path.lstat())


def read_file(root: Path, relative: str, *, max_bytes: int) -> ReadFile:
    """Return a file's content and stamp, no link followed below the root.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableFileError: it cannot be read, is no regular file, or is too large.
    """
    try:
        check_id(entry_id(relative))
    except InvalidEntryError as error:
        raise UnreadableFileError(relative, str(error)) from error
    name = relative.rpartition("/")[2]
    try:
        with held_folder(root, relative) as folder:
            for _ in range(_READ_TRIES):
                descriptor = os.open(name, _READ_FLAGS, dir_fd=folder)
                try:
                    if read := _read(descriptor, relative, max_bytes):
                        return read
                finally:
                    os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if link := linked_folder(str(root), relative):
            raise UnreadableFileError(relative, f"its folder {link!r} is a link") from error
        is_link = error.errno == errno.ELOOP
        reason = "it is a link, not a file" if is_link else f"it cannot be read: {error.strerror}"
        raise UnreadableFileError(relative, reason) from error
    raise UnreadableFileError(relative, "it keeps changing while it is read; it is tried again")


def _read(descriptor: int, relative: str, max_bytes: int) -> ReadFile | None:
    """Return the open file's content, or None if it changed meanwhile."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise UnreadableFileError(relative, "it is a folder, pipe or device, not a file")
    if before.st_size > max_bytes:
        raise UnreadableFileError(
            relative,
            f"its {before.st_size:,} bytes are more than max_file_bytes allows ({max_bytes:,}); "
            "split it, or raise that setting",
        )
    raw = os.read(descriptor, before.st_size + 1)
    while len(raw) < before.st_size and (more := os.read(descriptor, before.st_size - len(raw))):
        raw += more
    stamp = FileStamp.of(os.fstat(descriptor))
    if stamp != FileStamp.of(before) or len(raw) != stamp.size:
        return None
    return ReadFile(relative, raw, stamp, digest_of(raw))


def remove(root: Path, relative: str) -> None:
    """Remove a file, but not its folder; `sync_folder` makes that survive a loss of power."""
    with held_folder(root, relative) as folder:
        os.unlink(relative.rpartition("/")[2], dir_fd=folder)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the folder's names as they are now."""
    with held_folder(folder, "") as descriptor:
        os.fsync(descriptor)

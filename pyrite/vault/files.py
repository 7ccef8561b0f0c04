"""Reading a file together with its identity, and writing one durably in two steps.

A writer makes the new file complete and safe on disk under a hidden name (`prepare`), which
may take long, and then gives it its real name in one step (`replace` or `create`), which does
not: that is the only part to hold a lock around. A crash in between leaves the old file as it
was, and a hidden one that `scan` passes over and `sweep_temporary` removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pyrite.errors import ConflictError, InvalidEntryError, UnreadableFileError
from pyrite.markdown import document
from pyrite.markdown.entry import Entry
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import check_id, entry_id
from pyrite.storage.records import FileStamp
from pyrite.vault.paths import linked_folder

_READ_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_READ_TRIES: Final = 4

_TEMPORARY_PREFIX: Final = ".pyrite-"
_TEMPORARY_SUFFIX: Final = ".tmp"

#: What a file system says that has no hard links.
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


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
    if link := linked_folder(str(root), relative):
        raise UnreadableFileError(relative, f"its folder {link!r} is a link")
    try:
        for _ in range(_READ_TRIES):
            descriptor = os.open(f"{root}/{relative}", _READ_FLAGS)
            try:
                if read := _read(descriptor, relative, max_bytes):
                    return read
            finally:
                os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
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


class PreparedFile:
    """A complete file on disk that waits, under a hidden name, to take its place."""

    def __init__(self, path: Path, temporary: Path, descriptor: int) -> None:
        self.path = path
        self._temporary: Path | None = temporary
        self._descriptor = descriptor

    def replace(self) -> FileStamp:
        """Take the place of whatever file is there, and return the stamp."""
        self._waiting().replace(self.path)
        return self._finished()

    def create(self) -> FileStamp:
        """Take a place where no file is, and return the stamp.

        Raises:
            ConflictError: there is one.
        """
        temporary = self._waiting()
        try:
            try:
                os.link(temporary, self.path)
                temporary.unlink()
            except FileExistsError:
                raise
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # Take the name first: if we crash now, an empty file stays, and none is lost.
                os.close(os.open(self.path, _WRITE_FLAGS))
                temporary.replace(self.path)
        except FileExistsError as error:
            raise ConflictError(f"{self.path.name!r} exists already; choose another id") from error
        return self._finished()

    def sync_folder(self) -> None:
        """Make the new name itself survive a loss of power."""
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the hidden file, if it has not taken its place."""
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                self._temporary.unlink()
            self._finished()

    def _waiting(self) -> Path:
        if self._temporary is None:
            raise ValueError("this file was put in place or discarded before")
        return self._temporary

    def _finished(self) -> FileStamp:
        """Return the stamp of this very file, even if another has taken its place since."""
        self._temporary = None
        stamp = FileStamp.of(os.fstat(self._descriptor))
        os.close(self._descriptor)
        return stamp

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()


def prepare(
    path: Path, raw: bytes | Iterable[bytes], mode_from: Path | None = None
) -> PreparedFile:
    """Write a file completely, under a hidden name in the folder where it is to be.

    Missing folders are made, durably. An OSError passes through, and nothing is left behind.

    Args:
        path: where the file is to be, as `resolve` gives it.
        raw: its content, or the pieces of it.
        mode_from: the existing file whose permissions it gets; without one, the usual ones.
    """
    _make_folder(path.parent)
    temporary = path.parent / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"
    descriptor = os.open(temporary, _WRITE_FLAGS, 0o666)
    prepared = PreparedFile(path, temporary, descriptor)
    try:
        if mode_from is not None:
            with suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(mode_from.stat().st_mode))
        for piece in [raw] if isinstance(raw, bytes) else raw:
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except BaseException:
        prepared.discard()
        raise
    return prepared


def remove(path: Path) -> None:
    """Remove a file, but not its folder; `sync_folder` makes that survive a loss of power."""
    path.unlink()


def sync_folder(folder: Path) -> None:
    """Have the disk hold the folder's names as they are now."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Return whether a file of that name was prepared by a writer."""
    return name.startswith(_TEMPORARY_PREFIX) and name.endswith(_TEMPORARY_SUFFIX)


def sweep(root: Path, leftovers: Iterable[str], older_than_s: float) -> int:
    """Remove prepared files that no writer can still be at, and return how many there were."""
    swept = 0
    limit = time.time() - older_than_s
    for relative in leftovers:
        path = root / relative
        with suppress(OSError):
            if path.lstat().st_mtime < limit:
                path.unlink()
                swept += 1
    return swept


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        sync_folder(folder.parent)

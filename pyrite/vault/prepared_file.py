"""Writing a file durably in two steps.

A writer makes the new file complete and safe on disk under a hidden name (`prepare`), which
may take long, and then gives it its real name in one step (`replace` or `create`), which does
not: that is the only part to hold a lock around. If what was to go with it then fails, such as
a database's transaction, it is taken back, unless it was kept (`keep`). A crash in between
leaves a hidden file that `scan` passes over and `sweep` removes.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from pyrite.errors import ConflictError
from pyrite.storage.records import FileStamp
from pyrite.vault.files import remove
from pyrite.vault.paths import held_folder, open_folder

_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_TEMPORARY_PREFIX: Final = ".pyrite-"
_TEMPORARY_SUFFIX: Final = ".tmp"

#: What a file system says that has no hard links.
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class PreparedFile:
    """A complete file on disk that waits, under a hidden name, to take its place."""

    def __init__(self, root: Path, relative: str, folder: int) -> None:
        """Make one that is still empty.

        Args:
            root: the folder below which no link is followed.
            relative: the file's path in it.
            folder: an open descriptor of the folder that it is in, which is closed in the end.
        """
        self.path = root / relative
        self._root = root
        self._relative = relative
        self._folder: int | None = folder
        #: The hidden name, until it has its real one.
        self._temporary: str | None = _temporary_name()
        #: The hidden name of the file whose place it took.
        self._former: str | None = None
        self._created = self._kept = False
        #: Its stamp once it had its real name.
        self._placed: FileStamp | None = None
        try:
            self._descriptor = os.open(self._temporary, _WRITE_FLAGS, 0o666, dir_fd=folder)
        except BaseException:
            os.close(folder)
            raise

    def fill(self, pieces: Iterable[bytes], *, keep_mode: bool) -> None:
        """Write the content, with the present file's permissions if wanted, safe on disk."""
        present = self._present() if keep_mode else None
        if present is not None:
            os.fchmod(self._descriptor, stat.S_IMODE(present.st_mode))
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def present_stamp(self) -> FileStamp | None:
        """The stamp of the file in its place, or None where there is none."""
        present = self._present()
        return None if present is None else FileStamp.of(present)

    def replace(self) -> FileStamp:
        """Take the place of whatever file is there, and return the stamp."""
        temporary = self._waiting()
        former = _temporary_name()
        try:
            self._link(self.path.name, former)
            self._former = former
        except FileNotFoundError:
            pass
        except OSError as error:
            # Without hard links it cannot be taken back, and stays; the next sync indexes it.
            if error.errno not in _NO_LINKS:
                raise
        self._rename(temporary)
        return self._stamped()

    def create(self) -> FileStamp:
        """Take a place where no file is, and return the stamp.

        Raises:
            ConflictError: there is one.
        """
        temporary = self._waiting()
        try:
            try:
                self._link(temporary, self.path.name)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._rename_to_new(temporary)
        except FileExistsError as error:
            raise ConflictError(f"{self.path.name!r} exists already; choose another id") from error
        self._created = True
        self._unlink(self._temporary)
        self._temporary = None
        return self._stamped()

    def keep(self) -> None:
        """Let it stay: what was to go with it is done."""
        self._kept = True
        # What cannot be removed is swept later, and no reason to refuse what is done.
        with suppress(OSError):
            self._unlink(self._former)
            self._former = None

    def sync_folder(self) -> None:
        """Make the new name itself survive a loss of power."""
        assert self._folder is not None
        os.fsync(self._folder)

    def discard(self) -> None:
        """Take back what was not kept: the hidden file, or the place that it has taken."""
        if self._folder is None:
            return
        try:
            # What cannot be taken back is found by the next sync, and must not hide what failed.
            with suppress(OSError):
                # An editor may have changed it since, or put another in its place.
                if not self._kept and self._placed and self._placed == self.present_stamp():
                    if self._former is not None:
                        self._rename(self._former)
                    elif self._created:
                        self._unlink(self.path.name)
                self._unlink(self._temporary)
                self._unlink(self._former)
        finally:
            os.close(self._descriptor)
            os.close(self._folder)
            self._folder = None

    def _waiting(self) -> str:
        """The hidden name, sure that the folder is still the one of that path."""
        if self._folder is None or self._temporary is None:
            raise ValueError("this file was put in place or discarded before")
        with held_folder(self._root, self._relative) as folder:
            if not os.path.samestat(os.fstat(folder), os.fstat(self._folder)):
                raise OSError(errno.ESTALE, "its folder was replaced meanwhile")
        return self._temporary

    def _present(self) -> os.stat_result | None:
        with suppress(FileNotFoundError):
            return os.stat(self.path.name, dir_fd=self._folder, follow_symlinks=False)
        return None

    def _link(self, source: str, target: str) -> None:
        folder = self._folder
        os.link(source, target, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def _rename(self, name: str) -> None:
        """Give the real name to what has this hidden one."""
        folder = self._folder
        os.replace(name, self.path.name, src_dir_fd=folder, dst_dir_fd=folder)
        self._temporary = None

    def _rename_to_new(self, name: str) -> None:
        """Give the real name to what has this hidden one, where no file has it."""
        # Take the name first: if we crash now, an empty file stays, and none is lost.
        os.close(os.open(self.path.name, _WRITE_FLAGS, dir_fd=self._folder))
        try:
            self._rename(name)
        except BaseException:
            self._unlink(self.path.name)
            raise

    def _unlink(self, name: str | None) -> None:
        if name is not None:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)

    def _stamped(self) -> FileStamp:
        """Return the stamp of this very file, even if another has taken its place since."""
        self._placed = FileStamp.of(os.fstat(self._descriptor))
        return self._placed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def prepare(
    path: Path,
    raw: bytes | Iterable[bytes],
    *,
    root: Path | None = None,
    keep_mode: bool = False,
) -> PreparedFile:
    """Write a file completely, under a hidden name in the folder where it is to be.

    Missing folders are made, durably. An OSError passes through, and nothing is left behind.

    Args:
        path: where the file is to be, as `resolve` gives it.
        raw: its content, or the pieces of it.
        root: the folder above it below which no link is followed; without one, the innermost
            that is there.
        keep_mode: whether it gets the permissions of the file in its place, if there is one.
    """
    if root is None:
        root = next(folder for folder in path.parents if folder.is_dir())
    relative = path.relative_to(root).as_posix()
    prepared = PreparedFile(root, relative, open_folder(root, relative, make=True))
    try:
        prepared.fill([raw] if isinstance(raw, bytes) else raw, keep_mode=keep_mode)
    except BaseException:
        prepared.discard()
        raise
    return prepared


def _temporary_name() -> str:
    return f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"


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
                remove(root, relative)
                swept += 1
    return swept

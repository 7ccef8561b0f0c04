"""Atomic folders of the cache: each is complete or not there.

A folder is filled beside its place, sealed with a manifest of every file's size and CRC-32, and
renamed. One process makes it and those that wait for it use what it made. A damaged folder does
not match its manifest, and is made anew. CRC-32 finds accidents, which is what it is for here;
it takes 0.02 s for 45 MB, where SHA-256 takes 0.2 s.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"

_BLOCK = 2**20


def intact(folder: Path, *names: str) -> bool:
    """Whether the folder is sealed and these files in it, or all, are as they were then."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(manifest[name] == _checksum(folder / name) for name in names or manifest)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def make(folder: Path, fill: Callable[[Path], None], *names: str) -> None:
    """Have ``fill`` make the folder's content, unless it is there; then it is sealed.

    Args:
        folder: where it is to be.
        fill: writes the content into an empty folder that it is given.
        names: the files to check, where not all are needed.

    Raises:
        OSError: the folder cannot be written.
    """
    if intact(folder, *names):
        return
    # Imported only here: nothing needs it once the folder is made.
    from filelock import FileLock  # noqa: PLC0415

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if intact(folder, *names):
            return
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as beside:
            made = Path(beside) / "made"
            made.mkdir()
            fill(made)
            _write_manifest(made)
            if folder.exists():
                # Moved first: whoever has a file of it open keeps that, and nobody sees half.
                folder.rename(Path(beside) / "damaged")
            made.rename(folder)


def discard(folder: Path) -> None:
    """Remove a folder that turned out to be of no use; the next to ask for it makes it anew."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _write_manifest(folder: Path) -> None:
    marks = {
        path.relative_to(folder).as_posix(): _checksum(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps(marks, indent=1), encoding="utf-8")


def _checksum(path: Path) -> list[int]:
    """Size and CRC-32."""
    crc = size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
            size += len(block)
    return [size, crc]

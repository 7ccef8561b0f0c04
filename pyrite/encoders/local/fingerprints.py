"""Remembering a model's fingerprint, so that its files are hashed once and not at every start.

Hashing 90 MB takes 0.2 s or more. A file whose size, inode, time of change and time of status
change are what they were has not changed: the last of these cannot be set by a program.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyrite.encoders.local.model_files import ModelFiles
from pyrite.errors import ModelError

#: A file changed this lately may change again without its times showing it.
_SETTLED_NS = 2 * 10**9


def fingerprint(files: ModelFiles, cache: Path) -> str:
    """The files' fingerprint, from the cache where they have not changed since.

    Raises:
        ModelError: they cannot be read or are missing, or are not the official ones.
    """
    key = hashlib.sha256(str(files.path).encode()).hexdigest()[:32]
    path = cache / "fingerprints" / f"{key}.json"
    stamp = _stamp(files)
    known = _read(path)
    if known.get("stamp") == stamp and isinstance(known.get("fingerprint"), str):
        return str(known["fingerprint"])
    found = files.fingerprint()
    newest = max(times for _, _, _, *both in stamp["files"] for times in both)
    if stamp == _stamp(files) and newest < time.time_ns() - _SETTLED_NS:
        # A cache that cannot be written costs time at the next start, and nothing else.
        with suppress(OSError):
            _write(path, {"stamp": stamp, "fingerprint": found})
    return found


def _stamp(files: ModelFiles) -> dict[str, Any]:
    """What changes when any file of the model does; every value as JSON gives it back."""
    rows = []
    try:
        for path in sorted(files.path.rglob("*")):
            if path.is_file():
                seen = path.stat()
                name = path.relative_to(files.path).as_posix()
                rows.append([name, seen.st_size, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns])
    except OSError as error:
        raise ModelError(f"the model {files.name} cannot be read: {error}") from error
    if not rows:
        raise ModelError(f"there are no files of a model in {files.path}")
    return {"path": str(files.path), "weights": files.weights_sha256, "files": rows}


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)

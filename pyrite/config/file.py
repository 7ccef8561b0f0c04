"""Changes of ``config.toml``: one setting at a time, with all else in the file left as it is.

The file is replaced whole, by a rename, so that who reads it sees the old one or the new one.
A lock beside it keeps two changes at a time from losing one of them.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyrite.config.loading import (
    Value,
    checked,
    no_folder,
    parsed,
    require_known,
    require_no_secret,
)
from pyrite.errors import ConfigError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

#: How long to wait for another process's change, which takes milliseconds, in seconds.
_LOCK_TIMEOUT_S = 10.0


def set_value(path: Path, name: str, given: str) -> Value:
    """Write a setting into the file, which need not exist; returns the value as it was written.

    Raises:
        ConfigError: the name is unknown or a secret's, the value cannot be used, or the file
            cannot be read or written. It is then as it was.
    """
    require_known(name, "config set")
    require_no_secret(name, "config set")
    value = checked(name, given, "config set")

    def write(document: TOMLDocument) -> bool:
        document[name] = value
        return True

    _change(path, write, {name: value})
    return value


def unset(path: Path, name: str) -> bool:
    """Take a setting out of the file, be it known or not; returns whether it was there.

    Raises:
        ConfigError: the file cannot be read or written. It is then as it was.
    """

    def remove(document: TOMLDocument) -> bool:
        if name not in document:
            return False
        del document[name]
        return True

    return _change(path, remove, {name: None})


def _change(
    path: Path, edit: Callable[[TOMLDocument], bool], wanted: dict[str, Value | None]
) -> bool:
    """Edit the file under its lock; whether there was anything to edit."""
    # Imported only here: no other command changes the file.
    import tomlkit  # noqa: PLC0415
    from filelock import FileLock, Timeout  # noqa: PLC0415
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    # A link stays one: what it leads to is replaced.
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock"), _LOCK_TIMEOUT_S):
            raw = path.read_bytes() if path.exists() else b""
            parsed(path, raw)
            before = raw.decode()
            document = tomlkit.parse(before)
            if not edit(document):
                return False
            after = tomlkit.dumps(document)
            _require_only_change(before, after, wanted)
            _replace(path, after.encode())
            return True
    except Timeout as error:
        raise ConfigError(f"{path} is being changed by another process; try again") from error
    except TOMLKitError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise no_folder(path.parent) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _require_only_change(before: str, after: str, wanted: dict[str, Value | None]) -> None:
    """Check that only the wanted settings differ, whatever else stands in the file."""
    meant = {**tomllib.loads(before), **wanted}
    found = tomllib.loads(after)
    assert found == {name: value for name, value in meant.items() if value is not None}, after


def _replace(path: Path, content: bytes) -> None:
    """Put the content in the file's place, with the rights that the file had."""
    # Its name is the lock holder's; one that a crash has left is of no use to anybody.
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            known = path.stat()
            # Another's file stays theirs where that is ours to say; the mode is set after it,
            # for a change of owner may take some of it away.
            with suppress(OSError, AttributeError):
                os.chown(beside, known.st_uid, known.st_gid)
            beside.chmod(stat.S_IMODE(known.st_mode))
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise

"""Settings that a running worker follows as ``config.toml`` changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pyrite.config import loading
from pyrite.config.loading import PREFIX
from pyrite.config.settings import Settings
from pyrite.errors import ConfigError

#: What can change while a worker runs; the rest is read when it starts.
FOLLOWED = ("threads", "batch_texts", "batch_tokens", "idle_unload_s", "paused")

#: How often the file is checked, at most, in seconds.
CHECK_EVERY_S = 0.5

#: What tells one version of a file from another: date, size, and which file it is.
_Stamp = tuple[int, int, int]


def warn(text: str) -> None:
    """Report through the standard library's logging, which prints to stderr if nobody cares."""
    logging.getLogger("pyrite").warning(text)


class LiveSettings:
    """The settings in force, kept in step with the file; the environment still goes first.

    What is followed is the change, not the file: a setting that somebody gave the worker
    directly stays until its value in the file moves.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], report: Callable[[str], None] = warn
    ) -> None:
        self.settings = settings
        self._environ = {**environ, f"{PREFIX}HOME": str(settings.home)}
        self._report = report
        self._stamp = _stamp(settings.config_path)
        self._read = self._load() or settings

    def has_changed(self) -> bool:
        """Whether the file has changed since it was last read; asks only for its date and size."""
        return _stamp(self.settings.config_path) != self._stamp

    def read(self) -> Settings:
        """Read the file again; what it changed is in force from now on.

        A file that has become invalid is reported, and changes nothing.
        """
        # Taken first: what is written during the reading is seen at the next check.
        self._stamp = _stamp(self.settings.config_path)
        found = self._load()
        if found is not None:
            changes = {
                name: getattr(found, name)
                for name in FOLLOWED
                if getattr(found, name) != getattr(self._read, name)
            }
            self._read = found
            self.settings = replace(self.settings, **changes)
        return self.settings

    def _load(self) -> Settings | None:
        try:
            return loading.load(self._environ)
        except ConfigError as error:
            self._report(f"{error}; the settings before it stay in force")
            return None


def _stamp(path: Path) -> _Stamp | None:
    """The file's version, or None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

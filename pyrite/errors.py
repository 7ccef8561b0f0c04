"""Every error a caller may want to tell apart, under one root.

A message says what was wrong, with which thing, and what to do about it. Nothing here is
raised for a bug in Pyrite itself: those stay what they are and come with a traceback.
"""

from __future__ import annotations

from actors.ports import EncoderUnavailableError


class PyriteError(Exception):
    """Something Pyrite was asked to do cannot be done; the message says why, and what to do."""


class ConfigError(PyriteError):
    """A setting has a value that cannot be used."""


class InvalidEntryError(PyriteError):
    """What was given cannot be an entry: a bad id, field or text."""


class InvalidQueryError(PyriteError):
    """What was given cannot be searched for."""


class UnreadableFileError(PyriteError):
    """A file of a knowledge base cannot be read as an entry.

    Attributes:
        path: the file, relative to the knowledge base's folder.
        line: the first line at fault, counted from 1, or None where no line is.
        reason: one line, without the path.
    """

    def __init__(self, path: str, reason: str, line: int | None = None) -> None:
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class WriteError(PyriteError):
    """A file of a knowledge base cannot be written."""


class NotFoundError(PyriteError):
    """A knowledge base or an entry of that name does not exist."""


class ConflictError(PyriteError):
    """It exists already, or has changed since it was read."""


class StorageError(PyriteError):
    """The database cannot be opened, or is damaged."""


class CacheFileError(PyriteError):
    """A file of embeddings cannot be read or written."""


class NewerDatabaseError(StorageError):
    """The database was made by a later version of Pyrite."""


class ModelError(PyriteError, EncoderUnavailableError):
    """The embedding model is missing, is not the one expected, or cannot be loaded.

    To the pipeline it is what it says: the model is away, and no entry is at fault.
    """

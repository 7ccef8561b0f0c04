"""Every error a caller may want to tell apart, under one root.

A message says what was wrong, with which thing, and what to do about it. Nothing here is
raised for a bug in Pyrite itself: those stay what they are and come with a traceback.

A message is for whoever sits at the computer: it may name a folder, or a command to run. What
the server tells its clients is :attr:`PyriteError.public`, which names neither.
"""

from __future__ import annotations

from typing import ClassVar

from actors.ports import EncoderUnavailableError


class PyriteError(Exception):
    """Something Pyrite was asked to do cannot be done; the message says why, and what to do.

    Args:
        message: for whoever sits at the computer.
        public: the same for anybody, where the message names a path or a command.
    """

    #: What anybody may be told where messages of this kind name paths as a rule; None where
    #: the message itself may be told.
    _instead: ClassVar[str | None] = None

    def __init__(self, message: str = "", *, public: str | None = None) -> None:
        super().__init__(message)
        self._public = public

    @property
    def public(self) -> str:
        """What anybody may be told: no path, and no command that only runs here."""
        if self._public is not None:
            return self._public
        return str(self) if self._instead is None else self._instead


class ConfigError(PyriteError):
    """A setting has a value that cannot be used."""

    _instead = "a setting cannot be used or written; whoever runs the server can see why"


class InvalidError(PyriteError):
    """What was given cannot be used; the message says what to give instead.

    Attributes:
        field: which part of it is at fault, as the REST API calls it; empty for the whole.
    """

    def __init__(self, message: str = "", *, public: str | None = None, field: str = "") -> None:
        super().__init__(message, public=public)
        self.field = field


class InvalidEntryError(InvalidError):
    """What was given cannot be an entry: a bad id, field or text."""


class InvalidQueryError(InvalidError):
    """What was given cannot be searched for."""


class TimeLimitError(PyriteError):
    """What is looked for was not found in the time that there was."""


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

    _instead = "the file cannot be written; whoever runs the server can see why"


class NotFoundError(PyriteError):
    """A knowledge base or an entry of that name does not exist."""


class FolderMissingError(NotFoundError):
    """The folder of a knowledge base is not there, for the time being or for good."""


class FilesMissingError(FolderMissingError):
    """All or nearly all files of a knowledge base are gone at once, as if by an unmounted disk."""


class ConflictError(PyriteError):
    """It exists already, or has changed since it was read."""


class RevisionError(ConflictError):
    """It is not at the revision that was expected: somebody else has changed it."""


class StorageError(PyriteError):
    """The database cannot be opened, or is damaged."""

    _instead = "the database cannot be used; whoever runs the server can see why"


class CacheFileError(PyriteError):
    """A file of embeddings cannot be read or written."""

    _instead = "the file of embeddings cannot be used; whoever runs the server can see why"


class BackupError(PyriteError):
    """The database cannot be copied."""

    _instead = "the database cannot be copied; whoever runs the server can see why"


class TokenError(PyriteError):
    """A token cannot be made as it was asked for."""


class NewerDatabaseError(StorageError):
    """The database was made by a later version of Pyrite."""


class ModelError(PyriteError, EncoderUnavailableError):
    """The embedding model is missing, is not the one expected, or cannot be loaded.

    To the pipeline it is what it says: the model is away, and no entry is at fault.
    """

    _instead = "the embedding model cannot be used; whoever runs the server can see why"

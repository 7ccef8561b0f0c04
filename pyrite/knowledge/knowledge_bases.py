"""Registration of folders as knowledge bases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyrite.errors import FolderMissingError, InvalidEntryError, NotFoundError
from pyrite.markdown.ids import check_kb_name
from pyrite.storage.protocol import Storage
from pyrite.storage.records import KnowledgeBase
from pyrite.vault.availability import files_missing
from pyrite.vault.paths import folder_status


class KnowledgeBases:
    """The registered folders."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock

    def add_kb(self, name: str, folder: Path) -> KnowledgeBase:
        """Register a folder under a name; done already is done.

        Raises:
            InvalidEntryError: the name cannot be used, or the folder is none.
            ConflictError: the name is another folder's, or the folder has another name.
        """
        self.check_name(name)
        try:
            path = folder.expanduser().resolve(strict=True)
            str(path).encode()
        except OSError as error:
            raise InvalidEntryError(
                f"{folder} is not there: {error.strerror}",
                public=f"the folder is not there: {error.strerror}",
                field="path",
            ) from error
        except (RuntimeError, ValueError) as error:
            raise InvalidEntryError(
                f"{str(folder)!a} cannot be used: {error}",
                public="the folder cannot be used",
                field="path",
            ) from error
        if not path.is_dir():
            raise InvalidEntryError(
                f"{folder} is a file; a knowledge base is a folder",
                public="the path is a file's; a knowledge base is a folder",
                field="path",
            )
        for kb in self._storage.kbs():
            if (kb.name, kb.path) == (name, str(path)):
                return kb
        self._storage.add_kb(name, str(path), now=self._clock())
        return self.kb(name)

    def check_name(self, name: str) -> None:
        """Refuse what cannot name a knowledge base.

        Raises:
            InvalidEntryError: the name cannot be used.
        """
        check_kb_name(name)

    def kbs(self) -> list[KnowledgeBase]:
        """All knowledge bases by name."""
        return self._storage.kbs()

    def kb(self, name: str) -> KnowledgeBase:
        """One knowledge base.

        Raises:
            NotFoundError: none has that name.
        """
        for kb in self._storage.kbs():
            if kb.name == name:
                return kb
        message = f"there is no knowledge base {name!r}"
        raise NotFoundError(f"{message}; `pyrite kb list` shows those there are", public=message)

    def overlapping(self, kb: KnowledgeBase) -> list[KnowledgeBase]:
        """The others whose folder lies in this one's, or this one's in theirs.

        A file in both is an entry of both, and a search of both finds it twice.
        """
        folder = Path(kb.path)
        return [
            other
            for other in self.kbs()
            if other.name != kb.name
            and (folder.is_relative_to(other.path) or Path(other.path).is_relative_to(folder))
        ]

    def remove_kb(self, name: str) -> None:
        """Forget a knowledge base; its files stay as they are.

        Raises:
            NotFoundError: none has that name.
        """
        if not self._storage.remove_kb(name, now=self._clock()):
            self.kb(name)

    def folder(self, kb: str) -> Path:
        """A knowledge base's folder.

        Raises:
            NotFoundError: there is no such knowledge base.
            FolderMissingError: its folder is not there, or nearly all its files are not.
        """
        known = self.kb(kb)
        root = Path(known.path)
        if folder_status(root) is None:
            raise FolderMissingError(
                f"the folder {root} of the knowledge base {kb!r} is not there; mount it, or "
                f"`pyrite kb remove {kb}`",
                public=f"the folder of the knowledge base {kb!r} is not there",
            )
        if known.unavailable is not None:
            raise files_missing(known, known.unavailable)
        return root

    def unavailable(self, kb: KnowledgeBase) -> str | None:
        """Why a knowledge base's files cannot be reached, without a path; None where they can."""
        missing = folder_status(Path(kb.path)) is None
        return "its folder is not there" if missing else kb.unavailable

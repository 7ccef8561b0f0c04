"""The content of an entry's file that is to be written, and the checks before it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyrite.errors import ConflictError, InvalidEntryError, UnreadableFileError, WriteError
from pyrite.markdown import document
from pyrite.markdown.entry import DEFAULT_TYPE, JSON, Entry, tags_of
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import ENDINGS, check_id, slug
from pyrite.markdown.links import Link, links_of
from pyrite.storage.records import FileRow, FileStamp, Record
from pyrite.vault.files import ReadFile, digest_of
from pyrite.vault.paths import resolve

#: What a new file's name ends in.
ENDING = ".md"


@dataclass(frozen=True, slots=True)
class Draft:
    """A new entry that is to be written."""

    title: str
    #: Where it is to be; None makes one from the title.
    id: str | None = None
    type: str = DEFAULT_TYPE
    summary: str = ""
    tags: tuple[str, ...] = ()
    body: str = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A new entry with the exact bytes of its file, such as one that is imported."""

    id: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes to an entry; what is not named stays as it is, byte for byte."""

    changes: Mapping[str, JSON] = field(default_factory=dict)
    removals: Collection[str] = ()
    #: None keeps the body.
    body: str | None = None
    #: Tags to be added to those that the file has, and to be taken away from them.
    tags: Collection[str] = ()
    untags: Collection[str] = ()


#: An edit that depends on what the entry is when it is made.
Editor = Callable[[Entry], Edit]


@dataclass(frozen=True, slots=True)
class NewFile:
    """The file that a new entry is to have."""

    id: str
    #: Relative to the knowledge base's folder.
    relative: str
    path: Path
    raw: bytes


def new_file(root: Path, draft: Draft | Verbatim, max_bytes: int) -> NewFile:
    """Return the file that a new entry is to have; nothing is written yet.

    Raises:
        InvalidEntryError: the id or a field cannot be used, or it is too large.
        ConflictError: a file of another ending is there already.
    """
    entry_id = check_id(_id_of(draft))
    path = resolve(root, entry_id + ENDING)
    check_other_endings(root, entry_id)
    raw = draft.raw if isinstance(draft, Verbatim) else _raw_of(draft)
    check_size(raw, max_bytes)
    return NewFile(entry_id, entry_id + ENDING, path, raw)


def _id_of(draft: Draft | Verbatim) -> str:
    if draft.id is not None:
        return draft.id
    if not draft.title.strip():
        raise InvalidEntryError("an entry needs a title, or an id to go by", field="title")
    return slug(draft.title)


def _raw_of(draft: Draft) -> bytes:
    return document.create(
        type=draft.type,
        title=draft.title,
        summary=draft.summary,
        tags=draft.tags,
        body=draft.body,
        fields=draft.fields,
    )


@dataclass(frozen=True, slots=True)
class Content:
    """What a file says: parsed before a lock is taken, since a long text takes milliseconds."""

    entry: Entry
    #: Hash of the file's bytes.
    digest: bytes
    links: tuple[Link, ...]

    @classmethod
    def of(cls, raw: bytes, entry_id: str) -> Content:
        """Parse the bytes of an entry's file.

        Raises:
            DocumentError: the file cannot be read as an entry.
        """
        entry = document.read(raw, entry_id)
        return cls(entry, digest_of(raw), links_of(entry.body))

    def record(self, kb: str, relative: str, stamp: FileStamp, now: float) -> Record:
        """The index row of the entry, whose file was just written under that path."""
        file = FileRow.read_at(now, self.entry.id, relative, self.digest, stamp)
        return Record(kb, self.entry, file, self.links)


def already_there(kb: str, entry_id: str) -> ConflictError:
    """The error of a new entry whose id is another's."""
    message = f"the entry {entry_id!r} exists already in {kb!r}"
    return ConflictError(f"{message}; `pyrite update` changes it", public=message)


def edited(read: ReadFile, edit: Edit | Editor) -> bytes:
    """Return the file's bytes with the edit made.

    Raises:
        InvalidEntryError: a field cannot be written.
        UnreadableFileError: the file as it is cannot be read as an entry.
    """
    if not isinstance(edit, Edit):
        edit = edit(read.entry())
    changes = dict(edit.changes)
    if edit.tags or edit.untags:
        present = tags_of(changes["tags"]) if "tags" in changes else read.entry().tags
        wanted = tags_of([*present, *edit.tags])
        unwanted = tags_of(list(edit.untags))
        changes["tags"] = [tag for tag in wanted if tag not in unwanted]
    try:
        return document.update(read.raw, changes=changes, removals=edit.removals, body=edit.body)
    except DocumentError as error:
        raise UnreadableFileError(read.path, error.reason, error.line) from error


def check_other_endings(root: Path, entry_id: str) -> None:
    """Refuse an id that a file has by another ending; the folder would have two files for it."""
    for name in (f"{entry_id}{ending}" for ending in ENDINGS if ending != ENDING):
        if (root / name).exists():
            raise ConflictError(f"the file {name!r} exists already; choose another id")


def check_size(raw: bytes, limit: int) -> None:
    """Refuse what a sync would not read."""
    if len(raw) > limit:
        raise InvalidEntryError(
            f"the entry would have {len(raw):,} bytes, more than max_file_bytes ({limit:,})",
            field="body",
        )


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error for a person."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written: {error.strerror}",
            public=f"the file of {path.stem!r} cannot be written: {error.strerror}",
        ) from error

"""Sources of an import: folders of Markdown, Obsidian vaults, lines of JSON."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pyrite.errors import InvalidEntryError, UnreadableFileError
from pyrite.markdown import document, obsidian
from pyrite.markdown.entry import Entry
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import check_id, is_entry_file
from pyrite.vault import json_lines
from pyrite.vault.files import read_file
from pyrite.vault.scan import FoundFile, Scan, scan


class Format(StrEnum):
    """How a collection is kept."""

    OBSIDIAN = "obsidian"
    MARKDOWN = "markdown"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Incoming:
    """An entry to be imported, and the bytes that its file is to have."""

    #: The file that it is from, and the line if that holds several.
    path: str
    line: int | None
    entry: Entry
    raw: bytes


class Source(Protocol):
    """A collection; it can be read more than once."""

    #: What was passed over, by what it is, once it has been read.
    ignored: Counter[str]

    @property
    def total(self) -> int:
        """About how much there is to read."""
        ...

    def read(self) -> Iterator[Incoming | UnreadableFileError]:
        """Each entry, or why there is none."""
        ...


def format_of(source: Path) -> Format:
    """Guess the format of a collection.

    Raises:
        InvalidEntryError: it looks like nothing that can be imported.
    """
    if source.is_dir():
        return Format.OBSIDIAN if (source / obsidian.SETTINGS).is_dir() else Format.MARKDOWN
    if source.suffix.lower() in {".jsonl", ".ndjson"}:
        return Format.JSONL
    raise InvalidEntryError(
        f"{source} is neither a folder nor a .jsonl file; --format jsonl reads a file of any name"
        if source.exists()
        else f"{source} is not there"
    )


@dataclass
class Folder:
    """A folder of Markdown, or an Obsidian vault."""

    root: Path
    max_bytes: int
    #: Where the entries are to be, before their ids; empty for the top.
    into: str = ""
    vault: bool = False
    ignored: Counter[str] = field(default_factory=Counter)
    _scan: Scan | None = None

    @property
    def total(self) -> int:
        """How many files there are."""
        return len(self._found().found)

    def read(self) -> Iterator[Incoming | UnreadableFileError]:
        """Each file's entry, or why there is none."""
        seen = self._found()
        self.ignored = _others(self.root)
        templates = self._templates() if self.vault else ()
        yield from seen.problems
        for file in seen.found:
            if file.path.startswith(templates):
                self.ignored["templates"] += 1
                continue
            try:
                yield self._incoming(file)
            except FileNotFoundError:
                continue
            except DocumentError as error:
                yield UnreadableFileError(file.path, error.reason, error.line)
            except InvalidEntryError as error:
                yield UnreadableFileError(file.path, str(error))
            except UnreadableFileError as error:
                yield error

    def _incoming(self, file: FoundFile) -> Incoming:
        entry_id = check_id(f"{self.into}/{file.id}" if self.into else file.id)
        raw = read_file(self.root, file.path, max_bytes=self.max_bytes).raw
        if self.vault:
            raw = obsidian.with_tags(raw)
        return Incoming(file.path, None, document.read(raw, entry_id), raw)

    def _found(self) -> Scan:
        if self._scan is None:
            self._scan = scan(self.root)
        return self._scan

    def _templates(self) -> tuple[str, ...]:
        """The folders that the vault keeps its templates in, with a slash at the end."""
        folders = []
        for file, name in obsidian.TEMPLATE_SETTINGS:
            try:
                settings = (self.root / obsidian.SETTINGS / file).read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            folder = obsidian.template_folder(settings, name)
            folders += [f"{folder}/"] if folder else []
        return tuple(folders)


def _others(root: Path) -> Counter[str]:
    """The files of a folder that are no entries; of hidden folders, the folders alone."""
    found: Counter[str] = Counter()
    for _, folders, files in os.walk(root):
        found["hidden folders"] += sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in files if not name.startswith(".")]
        found["attachments"] += sum(not is_entry_file(name) for name in shown)
    return +found


@dataclass
class JsonLines:
    """A file of one JSON object a line."""

    path: Path
    max_bytes: int
    into: str = ""
    #: What the file is called in messages.
    name: str = ""
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many lines there are."""
        with self.path.open("rb") as file:
            chunks = iter(lambda: file.read(io.DEFAULT_BUFFER_SIZE), b"")
            return sum(chunk.count(b"\n") for chunk in chunks)

    def read(self) -> Iterator[Incoming | UnreadableFileError]:
        """Each line's entry, or why there is none; blank lines are passed over."""
        name = self.name or self.path.name
        # A character of a text may take six in JSON.
        most = 6 * self.max_bytes
        with self.path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(most), b""), 1):
                try:
                    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                    if text.strip():
                        yield self._incoming(name, number, text, most)
                except InvalidEntryError as error:
                    yield UnreadableFileError(name, str(error), number)
                    if len(line) >= most:
                        return

    def _incoming(self, name: str, number: int, line: bytes, most: int) -> Incoming:
        if len(line) >= most:
            raise InvalidEntryError("the line is too long for an entry; nothing more is read")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise InvalidEntryError(f"not UTF-8: byte 0x{line[error.start]:02X}") from error
        wanted = json_lines.entry_of(text, folder=self.into)
        raw = json_lines.file_of(wanted)
        return Incoming(name, number, document.read(raw, wanted.id), raw)

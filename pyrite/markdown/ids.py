"""Entry ids: which are allowed, the id of a file by its relative path, and ids made from titles."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from pyrite.errors import InvalidEntryError

ENDINGS: Final = (".md", ".markdown")

MAX_COMPONENT_BYTES: Final = 200
MAX_ID_BYTES: Final = 1000
_MAX_SLUG_CHARACTERS: Final = 80

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: More than this many combining marks in a row are in no language (UAX #15, Stream-Safe Text).
_MOST_MARKS: Final = 30
#: Looked for in the general categories of a text's characters, which have two letters each.
_TOO_MANY_MARKS = re.compile(f"(?:M[a-z]){{{_MOST_MARKS + 1}}}")
_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc")


def nfc(text: str) -> str:
    """Return the text in Unicode NFC; as it is where more than 30 combining marks are in a row.

    Each run of marks is put in order by a sort whose time grows with the square of the run: of a
    megabyte it takes a quarter of an hour. Nothing but marks is sorted, and none of them is taken
    apart into more than three.
    """
    if text.isascii():
        return text
    if len(text) > _MOST_MARKS:
        categories = "".join(map(unicodedata.category, text))
        if _TOO_MANY_MARKS.search(categories):
            return text
    return unicodedata.normalize("NFC", text)


def is_entry_file(name: str) -> bool:
    """Whether a file of that name is an entry's, by its ending."""
    return name.lower().endswith(ENDINGS)


def entry_id(relative_path: str) -> str:
    """Return the id of the entry in a file: its path without the ending, in Unicode NFC."""
    lowered = relative_path.lower()
    for ending in ENDINGS:
        if lowered.endswith(ending):
            relative_path = relative_path[: -len(ending)]
            break
    return nfc(relative_path)


def check_id(given: str) -> str:
    """Return an id in Unicode NFC.

    Raises:
        InvalidEntryError: no entry can have this id; the message says what to change.
    """
    # A character of NFC stands for four at most, so one of these is too long in any spelling.
    name = given if len(given) > 4 * MAX_ID_BYTES else nfc(given)
    if problem := _problem(name):
        raise InvalidEntryError(f"{_shown(name)} cannot be an entry's id: {problem}", field="id")
    return name


def check_kb_name(name: str) -> None:
    """Refuse what cannot name a knowledge base, which is one part of a path in URLs.

    Raises:
        InvalidEntryError: the message says what to change.
    """
    if problem := _kb_problem(name):
        raise InvalidEntryError(
            f"{_shown(name)} cannot name a knowledge base: {problem}", field="name"
        )


def _kb_problem(name: str) -> str | None:
    if not name:
        return "it is empty"
    if "/" in name or "\\" in name:
        return "it may contain no slash and no backslash"
    if nfc(name) != name:
        return "write it in Unicode NFC, with each accent in one character with its letter"
    return _problem(name)


def _shown(name: str) -> str:
    return (ascii(name) if _UNPRINTABLE.search(name) else repr(name))[:120]


def _problem(name: str) -> str | None:
    if found := _UNPRINTABLE.search(name):
        return f"it contains U+{ord(found[0]):04X}; use printable characters"
    if "\\" in name:
        return "it contains a backslash; separate folders with '/'"
    if is_entry_file(name):
        return "leave off the file's ending"
    if len(name.encode()) > MAX_ID_BYTES:
        return f"it is longer than {MAX_ID_BYTES:,} bytes; shorten it"
    return next(filter(None, map(_component_problem, name.split("/"))), None)


def _component_problem(component: str) -> str | None:
    if not component:
        return "write it as folder/name, with one slash between names and none at the ends"
    if component.startswith("."):
        return "no part of it may begin with a dot"
    if component != component.strip():
        return "no part of it may begin or end with white space"
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        return f"a part of it is longer than {MAX_COMPONENT_BYTES} bytes; shorten it"
    return None


def slug(title: str) -> str:
    """Return a pleasant id for a title: its words in lower case, joined by hyphens."""
    text = nfc(title.lower().translate(_APOSTROPHES))
    kept = (letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in text)
    name = ""
    for word in "".join(kept).split():
        longer = f"{name}-{word}" if name else word
        if len(longer) > _MAX_SLUG_CHARACTERS or len(longer.encode()) > MAX_COMPONENT_BYTES:
            return name or _cut(word)
        name = longer
    return name or "entry"


def _cut(word: str) -> str:
    return word[:_MAX_SLUG_CHARACTERS].encode()[:MAX_COMPONENT_BYTES].decode(errors="ignore")

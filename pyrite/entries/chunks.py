"""What of an entry is encoded: its text, cut into chunks that the model can read.

At present an entry is one chunk, as much of its beginning as the model's window holds. All
that depends on chunks takes a list of them.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from actors.messages import Chunk, Span

#: Tokens of this many characters at least are what real text has on average; a text cut to
#: sixteen times the window's tokens fills it with room to spare.
_CHARACTERS_PER_TOKEN = 4
_MOST_CHARACTERS_PER_TOKEN = 16


class Text(Protocol):
    """What of an entry is embedded."""

    @property
    def title(self) -> str:
        """Its title."""
        ...

    @property
    def summary(self) -> str:
        """Its summary, or nothing."""
        ...

    @property
    def body(self) -> str:
        """Its Markdown."""
        ...


def chunks(entry: Text, window: int) -> list[tuple[Span, Chunk]]:
    """The entry's chunks in order of its text, each with its place in the body.

    Args:
        entry: the entry, or as much of it as is embedded.
        window: how many tokens the model reads.
    """
    end = min(len(entry.body), window * _MOST_CHARACTERS_PER_TOKEN)
    parts = (entry.title, entry.summary, entry.body[:end])
    text = "\n\n".join(part for part in parts if part)
    tokens = max(1, min(window, len(text) // _CHARACTERS_PER_TOKEN))
    digest = digest_of(text)
    return [(Span(digest, 0, end), Chunk(digest, text, tokens))]


def digest_of(text: str) -> bytes:
    """The 16-byte BLAKE2b hash that an embedding is stored under."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()

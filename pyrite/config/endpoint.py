"""The address of a server's API, as it may stand in a file and in a message. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: What ends the address of every server's embeddings, and is added by us.
_ENDING = "/embeddings"


def base_url(text: str) -> str:
    """The address without a slash at its end; empty where none is given.

    Raises:
        ValueError: it is none, or holds what may be secret; the message quotes nothing of it.
    """
    text = text.strip()
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", text):
        raise ValueError("it should begin with http:// or https:// and the name of a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must hold no user name and no password")
    if parts.query or parts.fragment:
        raise ValueError("it must hold nothing after a ? or #")
    # Raises for what is no number, or too large a one.
    _ = parts.port
    if parts.path.rstrip("/").endswith(_ENDING):
        raise ValueError(f"it is the address without {_ENDING}, which is added")
    return text.rstrip("/")

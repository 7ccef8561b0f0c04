"""The key of an embedding server: from the environment or a file, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

from pyrite.errors import ModelError

#: What can stand in a header; a key that holds anything else was copied wrongly.
_KEY = re.compile(r"[\x21-\x7e]+")
#: No key is longer; a file that is, is another file. In bytes.
_LONGEST = 2**14


def read_key(given: str, path: Path | None) -> str:
    """The key; empty where none is set. The messages of errors hold nothing of it.

    Args:
        given: the setting ``remote_key``, which goes first.
        path: the setting ``remote_key_file``; read anew at each call, so that it may change.

    Raises:
        ModelError: the file cannot be read, or what is set cannot be a key.
    """
    if given:
        return _checked(given, "the setting `remote_key`")
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST)
    except OSError as error:
        raise ModelError(
            f"the file {path} of the setting `remote_key_file` cannot be read: {error.strerror}"
        ) from None
    return _checked(content.decode("latin-1"), f"the file {path} of `remote_key_file`")


def _checked(text: str, where: str) -> str:
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ModelError(f"{where} does not hold a key: one word of ASCII characters, and no more")
    return key

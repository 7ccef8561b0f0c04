"""Taking out of a text what names places on this computer."""

from __future__ import annotations

import re

#: An absolute path of two names or more, or one on a drive. Ids of entries and addresses of the
#: API are not taken for one: an id does not begin with a slash, and an address begins with /api.
_PATH = re.compile(
    r"(?<![\w/.:])(?:file://)?(?!/(?:api|ws)\b)/[^\s/'\"`:,;<>()]+(?:/[^\s/'\"`:,;<>()]*)+"
    r"|(?<!\w)[A-Za-z]:\\[^\s'\"`,;<>()]+"
)


def without_paths(text: str) -> str:
    """The text with each absolute path in it replaced by an ellipsis."""
    return _PATH.sub("…", text)

"""Telling files that were deleted from files that cannot be reached.

A disk that is not mounted leaves an empty folder, or what was in that folder before; so may a
checkout. Taken for deletions, that would cost the index all it knows. So where all files of a
knowledge base are gone at once, or nearly all of many, or some while the folder is on another
disk, nothing is deleted: the knowledge base is *unavailable* until every file is back, or
somebody says that those files were deleted.
"""

from __future__ import annotations

from pyrite.errors import FilesMissingError
from pyrite.storage.records import KnowledgeBase

#: Of at least so many files, more than this share gone at once was hardly deleted one by one.
MANY_FILES = 20
NEARLY_ALL = 0.9


def missing_files(known: int, lost: int, *, elsewhere: bool, unavailable: bool) -> str | None:
    """Say why files that are gone are not to be taken for deleted; None if they are.

    Args:
        known: files that the index knows.
        lost: those of them that are gone, other than by a rename.
        elsewhere: whether the folder is on another disk than at the last sync.
        unavailable: whether the knowledge base is unavailable already.
    """
    nearly_all = known >= MANY_FILES and lost > known * NEARLY_ALL
    if not lost or not (lost == known or nearly_all or elsewhere or unavailable):
        return None
    if lost == known:
        reason = "its only file is gone" if known == 1 else f"all of its {known:,} files are gone"
    else:
        reason = f"{lost:,} of its {known:,} files {'is' if lost == 1 else 'are'} gone"
    return f"{reason}, and its folder is on another disk than before" if elsewhere else reason


def files_missing(kb: KnowledgeBase, reason: str) -> FilesMissingError:
    """The error of a knowledge base whose files cannot be reached, with what to do about it."""
    kept = "its entries stay indexed meanwhile, and nothing is written"
    return FilesMissingError(
        f"the knowledge base {kb.name!r} is unavailable: {reason} ({kb.path}); {kept}. Bring the "
        "files back (is a disk not mounted?) and sync again; or, if they were deleted, "
        f"`pyrite index sync --kb {kb.name} --accept-deletions`",
        public=f"the knowledge base {kb.name!r} is unavailable: {reason}; {kept}",
    )

"""The disk that a knowledge base's folder is on, and whether its files can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = (
    # The number of the device that the folder was on at the last sync; NULL before the first.
    "ALTER TABLE kbs ADD COLUMN device INTEGER",
    # Why its files cannot be reached; NULL where they can.
    "ALTER TABLE kbs ADD COLUMN unavailable TEXT",
)


def extend(db: Database) -> None:
    """Add the columns."""
    for statement in _COLUMNS:
        db.execute(statement)

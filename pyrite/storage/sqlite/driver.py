"""The SQLite module in use: the ``pysqlite3`` wheel where it is installed, else Python's own.

SQLite 3.7.0 to 3.51.2 can corrupt a database when two connections reset its write-ahead log
at the same time; the wheel carries a newer SQLite. sqlite-utils makes the same choice by
itself, so that connections pass from one to the other. It is not asked for it here because
importing it takes longer than a short command may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["WAL_RESET_FIXED", "sqlite3"]

#: The first version without the WAL-reset bug.
WAL_RESET_FIXED = (3, 51, 3)

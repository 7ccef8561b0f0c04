"""The schema, as numbered migrations.

A migration is never edited once it has been released: the next one changes what it made.
All that are due run in one transaction under the write lock, so that two processes that
start together migrate once. The database is copied first if one of them rewrites data.

``PRAGMA user_version`` holds the count of the migrations applied, so that a database that is
up to date is recognised without importing sqlite-utils.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyrite.storage.sqlite.migrations import (
    m001_create,
    m002_search,
    m003_service,
    m004_links,
    m005_names,
    m006_folders,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

#: Every migration by its name, in order; names begin with their number.
MIGRATIONS: Mapping[str, Callable[[Database], None]] = {
    "001_create": m001_create.create,
    "002_search": m002_search.rebuild,
    "003_service": m003_service.extend,
    "004_links": m004_links.fill,
    "005_names": m005_names.fill,
    "006_folders": m006_folders.extend,
}

#: Those that rewrite existing data: a copy of the database is made before them.
REWRITING = frozenset({"002_search"})

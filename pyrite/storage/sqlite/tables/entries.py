"""SQL over knowledge bases and entries. A write puts the entry into the queue with it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from actors.lifecycle import Status
from pyrite.errors import ConflictError
from pyrite.markdown.entry import Entry
from pyrite.storage.protocol import EVERYTHING
from pyrite.storage.records import (
    FileRow,
    FileStamp,
    Filters,
    Key,
    KnowledgeBase,
    Record,
    StoredEntry,
)
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.tables import feed, links
from pyrite.storage.sqlite.tables.filters import condition

#: One encoder for all rows: json.dumps would make a new one for each.
_encode = json.JSONEncoder(ensure_ascii=False).encode

_NEXT_REVISIONS = "UPDATE sequences SET value = value + ? WHERE name = 'revision' RETURNING value"

_UPSERT_ENTRY = """
    INSERT INTO entries (kb_name, entry_id, path, digest, size, mtime_ns, ctime_ns, inode,
                         revision, updated_at, type, title, summary, tags, fields, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (kb_name, entry_id) DO UPDATE SET
        path = excluded.path, digest = excluded.digest, size = excluded.size,
        mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode,
        revision = excluded.revision, updated_at = excluded.updated_at, type = excluded.type,
        title = excluded.title, summary = excluded.summary, tags = excluded.tags,
        fields = excluded.fields, body = excluded.body
"""

# Whatever state the row was in, and whoever holds it: the new revision is pending.
_ENQUEUE = """
    INSERT INTO embed_queue
        (kb_name, entry_id, revision, characters, status, queued_at, priority)
    VALUES (?, ?, ?, ?, 'pending', ?, ?)
    ON CONFLICT (kb_name, entry_id) DO UPDATE SET
        revision = excluded.revision, characters = excluded.characters,
        status = 'pending', queued_at = excluded.queued_at,
        priority = excluded.priority, available_at = NULL, attempts = 0,
        error = NULL, error_at = NULL, claim_token = NULL, claimed_by = NULL,
        lease_expires_at = NULL, finished_at = NULL
"""

_EXISTING = """
    SELECT entry_id FROM entries
    WHERE kb_name = ? AND entry_id IN (SELECT value FROM json_each(?))
"""

_COLUMNS = """
    e.kb_name, e.entry_id, e.path, e.digest, e.revision, e.updated_at, q.status,
    e.type, e.title, e.summary, e.tags, e.fields
"""


def upsert(
    conn: sqlite3.Connection, records: Sequence[Record], *, priority: int, now: float
) -> list[int]:
    """Write entries with their links, their queue rows, and the events that tell of it."""
    if not records:
        return []
    there = _existing(conn, records)
    last: int = conn.execute(_NEXT_REVISIONS, (len(records),)).fetchone()[0]
    revisions = list(range(last - len(records) + 1, last + 1))
    conn.executemany(
        _UPSERT_ENTRY,
        (_entry_row(r, revision, now) for r, revision in zip(records, revisions, strict=True)),
    )
    conn.executemany(
        _ENQUEUE,
        (
            (r.kb, r.entry.id, revision, _characters(r.entry), now, priority)
            for r, revision in zip(records, revisions, strict=True)
        ),
    )
    links.replace(conn, records, there)
    feed.append_bare(conn, _events(records, revisions, there, now))
    return revisions


def _existing(conn: sqlite3.Connection, records: Iterable[Record]) -> set[tuple[str, str]]:
    """Which of the entries there are before they are written."""
    given: dict[str, list[str]] = {}
    for record in records:
        given.setdefault(record.kb, []).append(record.entry.id)
    return {
        (kb, entry_id)
        for kb, ids in given.items()
        for (entry_id,) in conn.execute(_EXISTING, (kb, _encode(ids)))
    }


def _events(
    records: Sequence[Record], revisions: Sequence[int], there: set[tuple[str, str]], now: float
) -> Iterator[tuple[str, str, str, int, float]]:
    """The event of each write, given which entries there were; notes those it tells of."""
    for record, revision in zip(records, revisions, strict=True):
        key = record.kb, record.entry.id
        event_type = feed.ENTRY_UPDATED if key in there else feed.ENTRY_CREATED
        there.add(key)
        yield event_type, *key, revision, now


def _characters(entry: Entry) -> int:
    """How long the text is that will be embedded."""
    return len(entry.title) + len(entry.summary) + len(entry.body)


def _entry_row(record: Record, revision: int, now: float) -> tuple[object, ...]:
    entry, file = record.entry, record.file
    return (
        *(record.kb, entry.id, file.path, file.digest, *_stamp_columns(file.stamp)),
        *(revision, now, entry.type, entry.title, entry.summary),
        _encode(entry.tags),
        _encode(dict(entry.fields)),
        entry.body,
    )


def _stamp_columns(stamp: FileStamp | None) -> tuple[int | None, ...]:
    if stamp is None:
        return (None,) * 4
    # An inode number may use all 64 bits; SQLite's integers are signed.
    inode = stamp.inode - 2**64 if stamp.inode >= 2**63 else stamp.inode
    return stamp.size, stamp.mtime_ns, stamp.ctime_ns, inode


def _stamp(size: int | None, mtime_ns: int, ctime_ns: int, inode: int) -> FileStamp | None:
    if size is None:
        return None
    return FileStamp(size, mtime_ns, ctime_ns, inode + 2**64 if inode < 0 else inode)


def restamp(conn: sqlite3.Connection, kb: str, files: Iterable[FileRow]) -> None:
    """Note new stats of files whose content is as it was."""
    conn.executemany(
        """UPDATE entries SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?
           WHERE kb_name = ? AND entry_id = ? AND digest = ?""",
        ((*_stamp_columns(f.stamp), kb, f.entry_id, f.digest) for f in files),
    )


def delete(conn: sqlite3.Connection, kb: str, entry_ids: Collection[str], *, now: float) -> int:
    """Delete entries; their queue rows and chunks go with them."""
    deleted = 0
    for entry_id in entry_ids:
        row = conn.execute(
            "DELETE FROM entries WHERE kb_name = ? AND entry_id = ? RETURNING revision",
            (kb, entry_id),
        ).fetchone()
        if row is not None:
            deleted += 1
            feed.append(conn, feed.ENTRY_DELETED, kb, entry_id, row[0], now)
    return deleted


def file(conn: sqlite3.Connection, kb: str, entry_id: str) -> tuple[int, FileRow] | None:
    """An entry's revision and file."""
    row = conn.execute(
        """SELECT revision, entry_id, path, digest, size, mtime_ns, ctime_ns, inode
           FROM entries WHERE kb_name = ? AND entry_id = ?""",
        (kb, entry_id),
    ).fetchone()
    return None if row is None else (row[0], _file_row(row[1:]))


def files(conn: sqlite3.Connection, kb: str) -> dict[str, FileRow]:
    """The files of a knowledge base by entry id."""
    rows = conn.execute(
        """SELECT entry_id, path, digest, size, mtime_ns, ctime_ns, inode
           FROM entries WHERE kb_name = ?""",
        (kb,),
    )
    return {row[0]: _file_row(row) for row in rows}


def _file_row(row: Sequence[Any]) -> FileRow:
    entry_id, path, digest, *stamp = row
    return FileRow(entry_id, path, digest, _stamp(*stamp))


def entry(conn: sqlite3.Connection, kb: str, entry_id: str) -> StoredEntry | None:
    """One entry with its body."""
    return of_keys(conn, _encode([(kb, entry_id)])).get((kb, entry_id))


def of_keys(conn: sqlite3.Connection, keys: str) -> dict[Key, StoredEntry]:
    """Entries with their bodies, given a JSON array of pairs of knowledge base and id."""
    rows = conn.execute(
        f"""SELECT {_COLUMNS}, e.body
            FROM json_each(?) AS k
            CROSS JOIN entries e ON e.kb_name = k.value ->> 0 AND e.entry_id = k.value ->> 1
            JOIN embed_queue q USING (kb_name, entry_id)""",
        (keys,),
    )
    return {(row[0], row[1]): _stored(row) for row in rows}


def entries(
    conn: sqlite3.Connection,
    filters: Filters = EVERYTHING,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> list[StoredEntry]:
    """Entries by knowledge base and id, with empty bodies."""
    where, values = condition(filters)
    rows = conn.execute(
        f"""SELECT {_COLUMNS}, ''
            FROM entries e JOIN embed_queue q USING (kb_name, entry_id)
            WHERE {where} ORDER BY e.kb_name, e.entry_id LIMIT ? OFFSET ?""",
        (*values, -1 if limit is None else limit, offset),
    )
    return [_stored(row) for row in rows]


def ids(conn: sqlite3.Connection, kb: str, after: str, limit: int) -> list[str]:
    """Ids that follow one, in order."""
    rows = conn.execute(
        """SELECT entry_id FROM entries WHERE kb_name = ? AND entry_id > ?
           ORDER BY entry_id LIMIT ?""",
        (kb, after, limit),
    )
    return [row[0] for row in rows]


def _stored(row: Sequence[Any]) -> StoredEntry:
    kb, entry_id, path, digest, revision, updated_at, status = row[:7]
    entry_type, title, summary, tags, fields, body = row[7:]
    parsed = parse(entry_id, entry_type, title, summary, tags, fields, body)
    return StoredEntry(kb, parsed, path, digest, revision, updated_at, Status(status))


def parse(
    entry_id: str, entry_type: str, title: str, summary: str, tags: str, fields: str, body: str
) -> Entry:
    """An entry from the columns that hold it."""
    return Entry(
        id=entry_id,
        type=entry_type,
        title=title,
        summary=summary,
        tags=tuple(json.loads(tags)),
        body=body,
        fields=json.loads(fields),
    )


def add_kb(conn: sqlite3.Connection, name: str, path: str, *, now: float) -> None:
    """Register a folder."""
    for column, value in (("name", name), ("path", path)):
        row = conn.execute(f"SELECT name, path FROM kbs WHERE {column} = ?", (value,)).fetchone()
        if row is not None:
            raise ConflictError(
                f"the knowledge base {row[0]!r} is registered already, for {row[1]}; "
                f"`pyrite kb remove {row[0]}` forgets it and leaves its files alone",
                public=f"the {column} is that of the knowledge base {row[0]!r} already",
            )
    conn.execute("INSERT INTO kbs (name, path, added_at) VALUES (?, ?, ?)", (name, path, now))
    feed.append(conn, feed.KB_ADDED, name, "", 0, now)


def kbs(conn: sqlite3.Connection) -> list[KnowledgeBase]:
    """All knowledge bases by name."""
    return [KnowledgeBase(*row) for row in conn.execute("SELECT * FROM kbs ORDER BY name")]


def set_availability(
    conn: sqlite3.Connection, name: str, *, device: int | None, unavailable: str | None
) -> None:
    """Note which disk a folder is on, and why its files cannot be reached."""
    conn.execute(
        "UPDATE kbs SET device = ?, unavailable = ? WHERE name = ?", (device, unavailable, name)
    )


def forget_some(conn: sqlite3.Connection, kb: str, limit: int) -> int:
    """Delete up to so many entries of a knowledge base, with all that is theirs; how many."""
    return conn.execute(
        "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE kb_name = ? LIMIT ?)",
        (kb, limit),
    ).rowcount


def remove_kb(conn: sqlite3.Connection, name: str, *, now: float) -> bool:
    """Forget a knowledge base with everything in it."""
    if not conn.execute("DELETE FROM kbs WHERE name = ?", (name,)).rowcount:
        return False
    conn.execute("DELETE FROM queue_counts WHERE kb_name = ?", (name,))
    feed.append(conn, feed.KB_REMOVED, name, "", 0, now)
    return True

"""Integrity checks of a database and its invariants; only ``pyrite doctor`` runs them."""

from __future__ import annotations

from pyrite.storage.sqlite.driver import sqlite3

#: Each counts the rows that break an invariant; every count should be 0.
INVARIANTS = {
    "entries without a queue row": """
        SELECT count(*) FROM entries e LEFT JOIN embed_queue q USING (kb_name, entry_id)
        WHERE q.entry_id IS NULL""",
    "queue rows without an entry": """
        SELECT count(*) FROM embed_queue q LEFT JOIN entries e USING (kb_name, entry_id)
        WHERE e.entry_id IS NULL""",
    "queue rows of another revision than their entry": """
        SELECT count(*) FROM embed_queue q JOIN entries e USING (kb_name, entry_id)
        WHERE q.revision <> e.revision""",
    "embedded entries whose embedding is missing or of an older text": """
        SELECT count(*) FROM embed_queue q WHERE q.status = 'done' AND NOT EXISTS (
            SELECT 1 FROM chunks c WHERE c.kb_name = q.kb_name AND c.entry_id = q.entry_id
            AND c.revision = q.revision AND c.model_id = q.model_id)""",
    "chunks without an embedding": """
        SELECT count(*) FROM chunks c
        LEFT JOIN embeddings e ON (e.id, e.model_id) = (c.embedding_id, c.model_id)
        WHERE e.id IS NULL""",
    "counts of embeddings that are wrong": """
        SELECT count(*) FROM models m
        WHERE m.embeddings <> (SELECT count(*) FROM embeddings WHERE model_id = m.id)""",
    "counts of the queue that are wrong": """
        SELECT count(*) FROM (
            SELECT sum(n) FROM (
                SELECT kb_name, status, iif(status = 'done', model_id, 0) AS model_id,
                       count(*) AS n, sum(characters) AS characters
                FROM embed_queue GROUP BY 1, 2, 3
                UNION ALL SELECT kb_name, status, model_id, -n, -characters FROM queue_counts)
            GROUP BY kb_name, status, model_id
            HAVING sum(n) <> 0 OR sum(characters) <> 0)""",
}


def words_problem(conn: sqlite3.Connection) -> str | None:
    """How the full-text index disagrees with the entries; needs the write lock."""
    try:
        conn.execute("INSERT INTO entry_words (entry_words, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def problems(conn: sqlite3.Connection) -> dict[str, int | str]:
    """What is broken: SQLite's own findings first, then each invariant with its count."""
    found: dict[str, int | str] = {}
    # The check of the full-text index trusts what this connection's last search knew of it, and
    # takes what others have merged since for damage; a look into the table brings it up to date.
    conn.execute("SELECT 1 FROM entry_words LIMIT 1").fetchone()
    findings = [row[0] for row in conn.execute("PRAGMA integrity_check(10)")]
    if findings != ["ok"]:
        found["damage to the database file"] = "; ".join(findings)
    orphans = len(conn.execute("PRAGMA foreign_key_check").fetchall())
    if orphans:
        found["rows that refer to nothing"] = orphans
    for name, query in INVARIANTS.items():
        count: int = conn.execute(query).fetchone()[0]
        if count:
            found[name] = count
    return found

"""SQL over tokens."""

from __future__ import annotations

from dataclasses import astuple

from pyrite.errors import ConflictError
from pyrite.storage.records import TokenRow
from pyrite.storage.sqlite.driver import sqlite3


def add(conn: sqlite3.Connection, token: TokenRow) -> None:
    """Enter a token."""
    if conn.execute("SELECT 1 FROM tokens WHERE name = ?", (token.name,)).fetchone():
        raise ConflictError(
            f"there is a token {token.name!r} already; choose another name, or "
            f"`pyrite token revoke {token.name}` first"
        )
    conn.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", astuple(token))


def tokens(conn: sqlite3.Connection) -> list[TokenRow]:
    """All tokens by name."""
    return [TokenRow(*row) for row in conn.execute("SELECT * FROM tokens ORDER BY name")]


def revoke(conn: sqlite3.Connection, name: str) -> bool:
    """Forget a token; False if there was none of that name."""
    return conn.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount > 0

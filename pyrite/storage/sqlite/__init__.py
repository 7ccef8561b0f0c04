"""The SQLite engine; :class:`pyrite.storage.sqlite.store.SqliteStorage` is its face."""

"""The SQL of the SQLite engine, a module for each table or group of tables.

May use: the records, the SQLite driver and each other. Used by the engine alone, `store.py`.
Functions take a connection whose transaction the caller has opened.
"""

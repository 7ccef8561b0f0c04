"""Knowledge bases and their entries: create, read, update, delete, in bulk, import and export.

May use: `vault` for the files and `storage` for the index; every write is a durable file and one
transaction. Used by `search` for lookups, and by the server, MCP and the command line.
"""

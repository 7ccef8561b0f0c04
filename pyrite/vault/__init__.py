"""Folders on disk: reading and writing entry files durably, scanning, syncing and watching.

May use: `markdown` for what a file says, `storage` for the index that sync keeps in step.
Used by `knowledge` for writes, and by the server and the command line for sync and watch.
"""

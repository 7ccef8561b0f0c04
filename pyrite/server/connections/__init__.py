"""Connections below the application: how many, how strictly they are parsed, that each ends alone.

May use: `actors`. Used by `server` where a process starts to serve.
"""

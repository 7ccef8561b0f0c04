"""The storage protocol and its records; each engine below it holds all of its own SQL.

May use: `markdown` for the entry that a row holds, and the pipeline's messages.
Used by every service; one conformance suite holds each engine to the protocol.
"""

"""The client of a server's feed, which reconnects and misses nothing.

May use: the errors and the pipeline's patience. Used by `pyrite watch`.
"""

"""The other end of a server's feed, for programs that follow it.

May use: the errors and the pipeline's patience. Used by `pyrite watch`.
"""

"""The services of one process put together, and the health check that looks at all of them.

May use: every room but the faces. The server, MCP and the command line begin with `Services`.
Used by these three.
"""

"""The services of one process put together, and the health check that looks at all of them.

May use: every room but the faces. Used by the server, MCP and the command line to begin with.
"""

"""The MCP server: tools, resources and prompts over the same services.

May use: `services`, `api`, `auth`. Used by `pyrite mcp` (standard input and output) and by the
server, which mounts it at `/mcp`.
"""

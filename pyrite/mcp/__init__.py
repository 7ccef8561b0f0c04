"""The MCP server: knowledge bases for programs that speak the Model Context Protocol."""

"""The JSON that leaves the product and the parameters that come in, each defined once.

May use: the records and the services' results. Used by REST, MCP and `--json` alike.
"""

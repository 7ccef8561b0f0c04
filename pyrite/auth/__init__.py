"""Authentication and authorization: tokens, tiers, allowed hosts, web origins, the rate limit.

May use: `config`, `storage` for the tokens, `api` for the problem that refuses a request.
Used by whatever serves requests: REST, the WebSocket and MCP over HTTP.
"""

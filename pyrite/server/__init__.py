"""The ASGI application and the process around it: REST, the live feed, metrics and health.

May use: `services`, `auth`, `api`, `mcp`. Used by `pyrite serve` and by Hypercorn.
"""

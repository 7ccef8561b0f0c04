"""The product's side of the pipeline: the worker, its queue, who may embed, and the status.

May use: `actors`, `storage`, `encoders`, `neighbours`. Used by the server, MCP and the command
line; `search` asks it how far the embedding of an entry is.
"""

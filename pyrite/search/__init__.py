"""Finding entries: queries, ranking by words and by meaning, passages, freshness, links, related.

May use: `storage`, `encoders`, `neighbours`, `embedding` for freshness, `knowledge` for lookups.
Used by `api` and by the faces above it.
"""

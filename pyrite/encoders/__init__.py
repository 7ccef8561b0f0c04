"""Models that turn texts into embeddings, behind one protocol.

May use: `config` for which model is wanted, and the pipeline's ports. Used by `embedding`,
`search` and `neighbours`; nothing is loaded before it is needed.
"""

"""Nearest neighbours: which of a model's embeddings are most like a vector.

May use: `storage`, which holds the truth, and `encoders`. Used by `search` and `embedding`.

:func:`pyrite.neighbours.opening.open_index` is the entrance. Up to some ten thousand embeddings
one matrix in memory answers exactly (:mod:`~pyrite.neighbours.exact`); beyond, a mapped graph
proposes candidates, which are compared exactly (:mod:`~pyrite.neighbours.graph`). Either is a
copy that can be made again at any time from the storage.
"""

"""Models that turn texts into embeddings, behind one protocol."""

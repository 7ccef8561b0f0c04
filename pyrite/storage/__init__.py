"""Where entries, their queue, their embeddings and the feed are kept; all SQL lives here."""

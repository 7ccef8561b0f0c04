"""Programs on the other side of the server."""

"""What the product does, for every face of it: the CLI, the API, other programs."""

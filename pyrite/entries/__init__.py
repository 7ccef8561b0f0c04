"""Entries: Markdown with front matter, and the files they live in."""

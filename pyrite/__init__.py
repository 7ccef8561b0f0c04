"""Pyrite: knowledge bases of Markdown files, searchable by meaning."""

__version__ = "0.1.0"

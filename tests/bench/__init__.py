"""Benchmarks: ``python -m tests.bench --help``. They measure and never judge."""

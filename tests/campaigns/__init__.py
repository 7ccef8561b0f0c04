"""Campaigns that look for broken promises at random, and that anyone can run again.

``python -m tests.campaigns NAME [--seed N] [--count N | --seconds N]``; what was found stands in
the handbook's page on reliability.
"""

"""Middleware: authentication, errors as problems, the request log, bounds on bodies.

May use: `auth`, `api`. Used by the application alone.
"""

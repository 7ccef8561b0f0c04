"""The embedding pipeline: five actors on Trio memory channels, under one nursery.

This package knows Trio and its own messages. What it needs from outside (a durable queue,
an encoder) comes in through :mod:`actors.ports`; it never imports the product around it.
"""

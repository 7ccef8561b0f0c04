"""The embedding pipeline and the fan-out of its events: five actors on Trio.

This package knows Trio and its own messages. What it needs from outside (a durable queue,
an encoder, a log of events) comes in through :mod:`actors.ports`; it never imports the product
around it.
"""

"""The ``pyrite`` command: a thin face over the services.

May use: every room. Used by the person who types it.

Modules here import only click at their top. What a command needs beyond that is imported
when it runs, through :mod:`pyrite.cli.context`, so that ``pyrite --help`` and
``pyrite index embed --status`` stay instant.
"""

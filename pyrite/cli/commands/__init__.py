"""The commands of ``pyrite``, a module for each group of them.

May use: what :mod:`pyrite.cli.context` opens, each when it is asked for. Used by the command's
entry point alone.
"""

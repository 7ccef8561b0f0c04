"""Settings: what each is called and may be, where it comes from, and changing the file.

May use: nothing of Pyrite but its errors. Used by everything that is configured; only the edges
(the command line, the server's entry points) read the environment.
"""

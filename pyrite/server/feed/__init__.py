"""The live feed of events over WebSockets.

May use: `storage` for the events, `auth` for the caller. Used by the application.
"""

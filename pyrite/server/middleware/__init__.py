"""What every request passes: authentication, problems as answers, the request log, bounds.

May use: `auth`, `api`. Used by the application alone.
"""

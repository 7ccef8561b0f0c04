"""The MCP server over streamable HTTP, as an application for the process that serves it.

Each tier has a server of its own, so that what a tier hides does not exist in it. Who may call
which of them is not decided here.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings

from pyrite.auth.credentials import Caller
from pyrite.auth.tokens import Tier
from pyrite.mcp.executor import ToolExecutor
from pyrite.mcp.server import PyriteServer

#: Sessions open at a time in each tier; one is a few kilobytes.
_SESSIONS = 1000

_PATH = "/mcp"


class TierApplication:
    """The ASGI application of one tier."""

    def __init__(self, executor: ToolExecutor, tier: Tier, *, sessions: bool) -> None:
        """Make the server of a tier.

        Args:
            executor: runs what its tools ask for.
            tier: which tools it has.
            sessions: whether it keeps any; without, each request stands for itself, which
                another process may as well answer.
        """
        self._server = PyriteServer(executor, tier)
        self._app = self._server.streamable_http_app(
            streamable_http_path=_PATH,
            max_request_body_size=executor.settings.max_body_bytes,
            max_sessions=_SESSIONS,
            stateless_http=not sessions,
            # Authentication has looked at both headers already, and knows more names.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep sessions until left; they end with it, and so do their open streams."""
        return self._server.session_manager.run()

    async def __call__(self, caller: Caller, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        # Wherever it is mounted: the address has been looked at.
        here = {"path": _PATH, "raw_path": _PATH.encode(), "root_path": ""}
        await self._app({**scope, **here, "user": _user(caller)}, receive, send)


def _user(caller: Caller) -> AuthenticatedUser | None:
    """The caller as the SDK knows one: whoever opens a session is the only one to use it."""
    if caller.token_id is None:
        return None
    name = caller.name or ""
    return AuthenticatedUser(
        AccessToken(token=caller.token_id, client_id=name, scopes=[], subject=caller.token_id)
    )

"""The host names that the server answers to, and the web origins that it trusts. Pure.

A page of an attacker can have its own name resolve to this computer (DNS rebinding); then its
requests come from the browser of somebody who is allowed here, and carry that name as ``Host``.
And any page can send requests here under the server's true name; then the browser says in
``Origin`` and ``Sec-Fetch-Site`` whose page it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrite.config.addresses import (
    LOOPBACK_NAMES,
    Host,
    WebOrigin,
    host,
    is_loopback,
    origin_of,
    web_origin,
)
from pyrite.config.settings import Settings

#: What the scheme of a WebSocket is called in an origin.
_SCHEMES = {"ws": "http", "wss": "https"}

#: Addresses to listen on that are no address to call.
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Allowed hosts and trusted origins."""

    hosts: frozenset[Host]
    origins: frozenset[WebOrigin]

    @classmethod
    def of(cls, settings: Settings) -> AllowedHosts:
        """Those that the settings list, and the host that is listened on."""
        listed = {*settings.extra_hosts, *(Host(name) for name in LOOPBACK_NAMES)}
        own = read_host(settings.host)
        if own is not None and own.name not in _WILDCARDS:
            listed.add(Host(own.name))
        return cls(frozenset(listed), frozenset(settings.extra_origins))

    def answers_to(self, called: Host, arrived_at: str | None) -> bool:
        """Whether a host is one of the server's own.

        Args:
            called: what the client calls it; an entry of the list without a port fits any.
            arrived_at: the address of this computer that the connection came to, which only a
                page that was loaded from it can name.
        """
        if called in self.hosts or Host(called.name) in self.hosts:
            return True
        at = None if arrived_at is None else read_host(bracketed(arrived_at))
        return at is not None and at.name == called.name

    def lists(self, origin: str | None) -> bool:
        """Whether the settings allow an origin."""
        found = None if origin is None else read_origin(origin)
        return found is not None and found in self.origins

    def trusts(
        self, origin: str | None, fetch_site: str | None, *, scheme: str, called: Host
    ) -> bool:
        """Whether a request that changes something may come from an origin.

        Args:
            origin: the header; without one it was no browser, or no other page.
            fetch_site: the header ``Sec-Fetch-Site``.
            scheme: of the request.
            called: the host that it was sent to, which is one of the server's own.
        """
        if self.lists(origin):
            return True
        if fetch_site not in {None, "same-origin", "none"}:
            return False
        if origin is None:
            return True
        # Behind a proxy that speaks TLS, the server's own pages come by https though the
        # request arrives by http.
        own = {origin_of(_SCHEMES.get(scheme, scheme), called), origin_of("https", called)}
        return read_origin(origin) in own


def only_here(called: Host, arrived_at: str | None) -> bool:
    """Whether a connection stayed within this computer; no address means a Unix socket."""
    return arrived_at is None or (is_loopback(arrived_at) and is_loopback(called.name))


def read_host(text: str) -> Host | None:
    """The host, or None where none is written."""
    try:
        return host(text)
    except ValueError:
        return None


def read_origin(text: str) -> WebOrigin | None:
    """The origin, or None where none is written, as in ``null``."""
    try:
        return web_origin(text)
    except ValueError:
        return None


def bracketed(address: str) -> str:
    """An IPv6 address as a host; any other as it is."""
    # A scope, as in fe80::1%eth0, is not part of what a client calls.
    return f"[{address.partition('%')[0]}]" if ":" in address else address

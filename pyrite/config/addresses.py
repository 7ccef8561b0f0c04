"""Names and addresses as they are written: hosts, origins of web pages, loopback. Pure.

A host is what stands in a URL between ``//`` and the path, and what a ``Host`` header holds. An
origin is what a browser says of the page that makes a request (RFC 6454).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[^/?#@]+)/?")

#: The largest port there is.
LAST_PORT = 65_535

_DEFAULT_PORTS = {"http": 80, "https": 443}

#: Names of this computer that are safe to answer to: nobody else's page can have them.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Host:
    """A name or address without brackets, in lower case, with the port if one is given."""

    name: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class WebOrigin:
    """Where a web page comes from; the port is always given."""

    scheme: str
    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        usual = self.port == _DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}://{name}" + ("" if usual else f":{self.port}")


def host(text: str) -> Host:
    """The host that is written there.

    Raises:
        ValueError: it is none; the message quotes it.
    """
    found = _HOST.fullmatch(text.strip().lower())
    port = None if found is None or found["port"] is None else int(found["port"])
    if found is None or (port or 0) > LAST_PORT:
        raise ValueError(f"{text!r} is no name or address of a host")
    name = found["name"].removesuffix(".")
    if name.startswith("["):
        try:
            name = str(IPv6Address(name[1:-1]))
        except ValueError:
            raise ValueError(f"{text!r} is no name or address of a host") from None
    if not name.strip("."):
        raise ValueError(f"{text!r} is no name or address of a host")
    return Host(name, port)


def web_origin(text: str) -> WebOrigin:
    """The origin that is written there, with the scheme's usual port if it names none.

    Raises:
        ValueError: it is none, as ``null`` is not; the message quotes it.
    """
    found = _ORIGIN.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no origin, such as https://notes.example")
    return origin_of(found["scheme"], host(found["host"]))


def origin_of(scheme: str, at: Host) -> WebOrigin:
    """The origin of pages that are served there."""
    return WebOrigin(scheme, at.name, at.port or _DEFAULT_PORTS.get(scheme))


def hosts(text: str) -> tuple[Host, ...]:
    """Several, separated by commas; raises as :func:`host` does."""
    return tuple(host(each) for each in text.split(",") if each.strip())


def web_origins(text: str) -> tuple[WebOrigin, ...]:
    """Several, separated by commas; raises as :func:`web_origin` does."""
    return tuple(web_origin(each) for each in text.split(",") if each.strip())


def is_loopback(name: str) -> bool:
    """Whether it names this computer to itself alone; a name but ``localhost`` never does."""
    if name.lower() == "localhost":
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback

"""More connections than the process has file descriptors for: the service lives, and says so."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.serving import LONG, SERVE, started, until
from tests.integration.hands import KB, Product

pytestmark = pytest.mark.process

#: Runs Python with the arguments behind the first, and with so many file descriptors.
LIMITED = (
    "import os, resource, sys; n = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


@pytest.mark.parametrize("descriptors", [64, 128])
def test_idle_connections_do_not_end_it(product: Product, descriptors: int) -> None:
    with started(product, "-c", LIMITED, str(descriptors), *SERVE) as server:
        place = urlsplit(server.url)
        with httpx.Client(timeout=LONG) as client, ExitStack() as opened:
            assert client.get(f"{server.url}/healthz").status_code == 200
            idle = [
                opened.enter_context(socket.create_connection((place.hostname, place.port), LONG))
                for _ in range(200)
            ]
            # The last is refused without having asked, and the first is served as before.
            before = time.monotonic()
            assert idle[-1].recv(1000).startswith(b"HTTP/1.1 503 ")
            assert time.monotonic() - before < 10
            assert client.get(f"{server.url}/healthz").status_code == 200
            body = {"title": "n", "body": "text"}
            written = client.post(f"{server.url}/api/kbs/{KB}/entries", json=body)
            assert written.status_code == 201
            assert server.text.count("connections are refused") == 1
            assert "accept returned" not in server.text
        until(lambda: answers(server.url))
        assert server.create(1)["id"]


def answers(url: str) -> bool:
    """Whether a new connection is served."""
    try:
        return httpx.get(f"{url}/healthz", timeout=LONG).status_code == 200
    except httpx.TransportError:
        return False

"""The MCP server over streamable HTTP on loopback, driven by the SDK's client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from httpx2 import AsyncClient
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from pyrite.auth.tokens import Tier, TokenService
from pyrite.errors import ConfigError
from pyrite.mcp.desk import Desk
from pyrite.mcp.http import serve_http
from tests.integration.hands import LONG, Product, Words

# Where a stream is cut short, the SDK's client leaves one to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

WRITES = {"entry_create", "entry_update", "entry_delete", "index_sync", "embed_retry"}
ADMINISTERS = {"kb_add", "kb_remove", "index_pause", "index_resume"}


@asynccontextmanager
async def serving(
    product: Product, tier: Tier = Tier.ADMIN, **settings: object
) -> AsyncIterator[str]:
    """A server on a free port; its URL."""
    chosen = replace(product.settings, host="127.0.0.1", port=0, **settings)  # type: ignore[arg-type]
    desk = Desk(product.storage, chosen, Words(chosen.model), local=False)
    stop = trio.Event()
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            start = partial(serve_http, desk, tier, chosen, stop=stop)
            (url,) = await nursery.start(start)
            yield url
            stop.set()


@asynccontextmanager
async def client(url: str, token: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        AsyncClient(headers=headers, timeout=LONG) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as connected,
    ):
        yield connected


async def names(connected: Client) -> set[str]:
    return {tool.name for tool in (await connected.list_tools()).tools}


async def call(connected: Client, name: str, **arguments: object) -> Any:
    result = await connected.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_note_is_filed_found_and_read(product: Product, mode: str) -> None:
    async with serving(product) as url, client(url, mode=mode) as connected:
        written = await call(connected, "entry_create", title="Backups", body="Copies.")
        assert written["embedding"] == "done"
        found = await call(connected, "search", query="copies")
        assert [hit["id"] for hit in found["hits"]] == ["backups"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_progress_reaches_the_client(product: Product, mode: str) -> None:
    for number in range(3):
        product.write(f"n{number}.md", f"Text {number}.\n")
    seen: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    async with serving(product) as url, client(url, mode=mode) as connected:
        result = await connected.call_tool("index_sync", {}, progress_callback=note)
        assert result.structured_content is not None
        assert result.structured_content["kbs"][0]["counts"]["created"] == 3
    assert seen == [(3, 3)]


async def test_no_path_of_the_computer_is_told(product: Product) -> None:
    async with serving(product) as url, client(url) as connected:
        listed = await connected.call_tool("kb_list", {})
        assert str(product.folder) not in json.dumps(listed.structured_content)
        product.folder.rename(product.folder.with_name("elsewhere"))
        refused = await connected.call_tool("entry_create", {"title": "A"})
        assert refused.is_error
        assert str(product.folder) not in refused.content[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("served", "token", "seen"),
    [
        (Tier.ADMIN, Tier.READ, set()),
        (Tier.ADMIN, Tier.WRITE, WRITES),
        (Tier.ADMIN, Tier.ADMIN, WRITES | ADMINISTERS),
        (Tier.WRITE, Tier.ADMIN, WRITES),
        (Tier.READ, Tier.ADMIN, set()),
    ],
)
async def test_nobody_sees_more_than_token_and_server_both_allow(
    product: Product, served: Tier, token: Tier, seen: set[str]
) -> None:
    shown = TokenService(product.storage).create("agent", token)
    async with serving(product, served) as url, client(url, shown) as connected:
        assert await names(connected) & (WRITES | ADMINISTERS) == seen


PING = {"jsonrpc": "2.0", "id": 1, "method": "initialize"} | {
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }
}


async def post(url: str, headers: Mapping[str, str], body: object = PING) -> httpx.Response:
    accepted = {"Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(timeout=LONG) as http:
        return await http.post(url, json=body, headers={**accepted, **headers})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer pyrite_0_wrong"}, 401),
        ({"Authorization": "Basic eA=="}, 401),
        ({"X-Forwarded-For": "10.0.0.1"}, 401),
    ],
    ids=str,
)
async def test_who_is_let_in_without_tokens(
    product: Product, headers: dict[str, str], status: int
) -> None:
    async with serving(product) as url:
        answer = await post(url, headers)
        assert answer.status_code == status
        if status != 200:
            assert answer.json()["status"] == status
            assert answer.headers["content-type"] == "application/problem+json"
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_wrong_token_is_logged_by_its_name_alone(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = TokenService(product.storage).create("agent", Tier.READ)[:-4] + "AAAA"
    async with serving(product) as url:
        refused = await post(url, {"Authorization": f"Bearer {wrong}"})
    assert refused.json()["detail"] == "the token is not valid, or no longer"
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    (record,) = (each for each in caplog.records if "not valid" in each.message)
    assert record.__dict__["token_name"] == "agent"
    assert wrong.split("_", 2)[2] not in caplog.text


async def test_with_a_token_in_the_database_one_has_to_be_shown(product: Product) -> None:
    tokens = TokenService(product.storage)
    shown = tokens.create("agent", Tier.READ)
    async with serving(product) as url:
        assert (await post(url, {})).status_code == 401
        first = await post(url, {"Authorization": f"Bearer {shown}"})
        assert first.status_code == 200
        # Another's session is none of theirs.
        other = tokens.create("other", Tier.READ)
        session = {"Mcp-Session-Id": first.headers["mcp-session-id"]}
        stolen = {"Authorization": f"Bearer {other}", **session}
        while (answer := await post(url, stolen)).status_code == 401:
            await trio.lowlevel.checkpoint()  # the new token is known a moment later
        assert answer.status_code == 404


async def test_names_and_pages_that_the_settings_list_are_let_in(product: Product) -> None:
    origin = "https://notes.example"
    async with serving(product, allowed_hosts="notes.example", allowed_origins=origin) as url:
        shown = TokenService(product.storage).create("agent", Tier.READ)
        headers = {"Host": "notes.example", "Origin": origin, "Authorization": f"Bearer {shown}"}
        assert (await post(url, headers)).status_code == 200


async def test_what_is_elsewhere_or_too_large_is_refused(product: Product) -> None:
    async with serving(product, max_body_bytes=200) as url:
        assert (await post(f"{url}/x", {})).status_code == 404
        assert (await post(url, {}, {"x": "y" * 300})).status_code == 413


async def test_who_asks_too_often_is_told_to_wait(product: Product) -> None:
    async with serving(product, rate_limit=0.01) as url:
        assert (await post(url, {})).status_code == 200
        refused = await post(url, {})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
    async with serving(product, rate_limit=0.01) as url:
        guess = {"Authorization": "Bearer pyrite_0_wrong"}
        assert [(await post(url, guess)).status_code for _ in range(2)] == [401, 429]


async def test_other_computers_are_not_served_without_tokens(product: Product) -> None:
    settings = replace(product.settings, host="0.0.0.0", port=0)
    desk = Desk(product.storage, settings, Words(settings.model), local=False)
    with pytest.raises(ConfigError, match="pyrite token create"):
        await serve_http(desk, Tier.READ, settings, stop=trio.Event())

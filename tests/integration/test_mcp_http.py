"""The MCP server over streamable HTTP on loopback, driven by the SDK's client."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from httpx2 import AsyncClient
from hypercorn.trio import serve
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from pyrite.auth.tokens import Tier, TokenService
from pyrite.embedding.process import identity
from pyrite.server.app import create_app
from pyrite.server.main import address_of, bind, hypercorn_config
from pyrite.server.process import ServerProcess
from pyrite.storage.queue_records import Leader
from tests.fakes.encoder import FakeEncoder
from tests.integration.hands import LONG, Product, Words

# Where a stream is cut short, the SDK's client leaves one to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

WRITES = {"entry_create", "entry_update", "entry_delete", "index_sync", "embed_retry"}
ADMINISTERS = {"kb_add", "kb_remove", "index_pause", "index_resume"}


@asynccontextmanager
async def served(process: ServerProcess, *, only_mcp: bool) -> AsyncIterator[str]:
    """Run a process as ``pyrite serve`` does, on a free port; the URL of its MCP server."""
    bound = bind("127.0.0.1", 0)
    url = f"{address_of(bound)}/mcp"
    config = hypercorn_config(process.settings, bound)
    app = create_app(process, only_mcp=only_mcp)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run)
            run = partial(serve, app, config, shutdown_trigger=process.answered.wait)
            await nursery.start(run)
            yield url
            process.stop()


@asynccontextmanager
async def serving(
    product: Product, tier: Tier = Tier.ADMIN, **settings: object
) -> AsyncIterator[str]:
    """The server of ``pyrite mcp --http``; its URL."""
    services = product.services(Words(product.settings.model), **settings)
    process = ServerProcess(services, embeds=False, highest=tier)
    async with served(process, only_mcp=True) as url:
        yield url


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


async def test_other_addresses_are_none_of_a_server_for_mcp_alone(product: Product) -> None:
    async with serving(product) as url, httpx.AsyncClient(timeout=LONG) as http:
        for path in ("/api/kbs", "/api/docs", "/metrics", "/healthz", "/ws", "/"):
            answer = await http.get(url.removesuffix("/mcp") + path)
            assert answer.status_code == 404, path
            assert "/mcp" in answer.json()["detail"]
    assert product.storage.workers() == []
    assert product.storage.leader() is None


# In the server that serves everything


@asynccontextmanager
async def full_server(
    product: Product, encoder: FakeEncoder | None = None, **settings: object
) -> AsyncIterator[tuple[ServerProcess, str]]:
    """The server of ``pyrite serve``, with a worker; what runs, and the URL of its MCP server."""
    encoder = encoder or Words(product.settings.model)
    process = ServerProcess(product.services(encoder, shares_encoder=True, **settings))
    async with served(process, only_mcp=False) as url:
        while process.worker_state() is None:  # noqa: ASYNC110 - it has no event
            await trio.sleep(0.005)
        yield process, url


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_what_a_tool_writes_is_embedded_by_the_worker_of_the_server(
    product: Product, mode: str
) -> None:
    # It polls once an hour: unless a write wakes it, this takes as long.
    async with (
        full_server(product, poll_interval_s=3600.0) as (process, url),
        client(url, mode=mode) as connected,
    ):
        assert connected.server_info is not None
        assert connected.server_info.name == "pyrite"
        for number in range(3):
            written = await call(connected, "entry_create", title=f"n{number}", body="Copies.")
            assert written["embedding"] in {"pending", "processing", "done"}
            assert written["warning"] is None
            revision = written["revision"]
            found = await call(connected, "search", query="copies", wait_for=revision, timeout=20)
            assert found["waited"]["outcome"] == "embedded"
            assert f"n{number}" in {hit["id"] for hit in found["hits"]}
        (worker,) = product.storage.workers()
        assert worker.worker_id == process.leadership.me.worker_id
        read = await connected.read_resource("pyrite://notes/n0")
        assert "Copies." in read.contents[0].text  # type: ignore[union-attr]


async def test_where_the_worker_is_yet_to_begin_the_entry_is_left_to_it(product: Product) -> None:
    now = time.time()
    me = replace(identity(), worker_id="other")
    row = Leader(me.worker_id, me.pid, me.host, me.process_started, now, now + 3600)
    product.storage.lead(row)
    encoder = Words(product.settings.model)
    process = ServerProcess(product.services(encoder, shares_encoder=True))
    async with served(process, only_mcp=False) as url, client(url) as connected:
        written = await call(connected, "entry_create", title="n", body="Copies.")
        assert written["embedding"] == "pending"
        assert encoder.encoded == []


async def test_a_wait_goes_by_the_feed_and_not_by_asking_the_database(product: Product) -> None:
    pause = {"paused": True}
    async with full_server(product, **pause) as (process, url), client(url) as connected:
        written = await call(connected, "entry_create", title="n")
        asked: list[int] = []
        status = process.storage.revision_status

        def counted(revision: int, model_id: int | None) -> Any:
            asked.append(revision)
            return status(revision, model_id)

        process.storage.revision_status = counted  # type: ignore[method-assign]
        arguments = {"query": "n", "wait_for": written["revision"], "timeout": 0.5}
        found = await call(connected, "search", **arguments)
        assert found["waited"]["outcome"] == "timed_out"
        assert len(asked) <= 3


@pytest.mark.parametrize(
    ("tier", "seen"),
    [(Tier.READ, set()), (Tier.WRITE, WRITES), (Tier.ADMIN, WRITES | ADMINISTERS)],
)
async def test_a_token_opens_the_tools_of_its_tier(
    product: Product, tier: Tier, seen: set[str]
) -> None:
    shown = TokenService(product.storage).create("agent", tier)
    async with full_server(product) as (_, url), client(url, shown) as connected:
        assert await names(connected) & (WRITES | ADMINISTERS) == seen
        for hidden in sorted((WRITES | ADMINISTERS) - seen):
            refused = await connected.call_tool(hidden, {"title": "x", "name": "x"})
            assert refused.is_error
            text = refused.content[0].text  # type: ignore[union-attr]
            assert "not available" in text
            assert "a token of that tier" in text
    assert product.ids() == []


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer pyrite_0_wrong"}, 401),
        ({"Authorization": ""}, 401),
    ],
    ids=str,
)
async def test_it_stands_behind_the_rules_of_the_rest(
    product: Product, headers: dict[str, str], status: int, method: str
) -> None:
    shown = TokenService(product.storage).create("agent", Tier.READ)
    given = {"Authorization": f"Bearer {shown}", "Accept": "text/event-stream", **headers}
    given = {name: value for name, value in given.items() if value}
    async with full_server(product) as (_, url), httpx.AsyncClient(timeout=LONG) as http:
        answer = await http.request(method, url, json=PING, headers=given)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_an_answer_carries_what_every_answer_does_and_is_logged(
    product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyrite.access")
    origin = "https://notes.example"
    shown = TokenService(product.storage).create("agent", Tier.READ)
    async with full_server(product, allowed_origins=origin) as (_, url):
        given = {"Authorization": f"Bearer {shown}", "Origin": origin, "X-Request-ID": "seven"}
        answer = await post(url, given)
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "seven"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["access-control-allow-origin"] == origin
        assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]
        assert answer.headers.get_list("content-type") == ["text/event-stream"]
        async with httpx.AsyncClient(timeout=LONG) as http:
            asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            preflight = await http.options(url, headers=asks)
            assert preflight.status_code == 204
            allowed = preflight.headers["access-control-allow-headers"].lower()
            assert {"mcp-session-id", "mcp-protocol-version"} <= set(allowed.split(", "))
            put = await http.put(url, headers={"Authorization": f"Bearer {shown}"})
            assert put.status_code == 405
    logged = [each.__dict__ for each in caplog.records if each.name == "pyrite.access"]
    (posted,) = (each for each in logged if each["request_id"] == "seven")
    assert (posted["route"], posted["status"], posted["client"]) == ("/mcp", 200, "agent")


async def test_an_entry_may_be_called_as_the_address_is(product: Product) -> None:
    product.write("a/mcp.md")
    product.folders.sync(product.kb)
    async with full_server(product) as (_, url), httpx.AsyncClient(timeout=LONG) as http:
        answer = await http.get(f"{url.removesuffix('/mcp')}/api/kbs/notes/entries/a/mcp")
        assert answer.json()["id"] == "a/mcp"


async def test_nothing_of_mcp_is_imported_before_somebody_calls(product: Product) -> None:
    code = "import sys; import pyrite.server.main; print('mcp' in sys.modules)"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout == b"False\n"


# Stopping


async def test_a_stop_ends_an_open_session(product: Product) -> None:
    started = trio.current_time()
    async with full_server(product) as (process, url), httpx.AsyncClient(timeout=LONG) as http:
        opened = await post(url, {})
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        given = {"Accept": "text/event-stream", "Mcp-Protocol-Version": "2025-06-18", **session}
        async with http.stream("GET", url, headers=given) as stream:
            assert stream.status_code == 200
            process.stop()
            # It ends as a whole answer does: nothing was cut off.
            assert [chunk async for chunk in stream.aiter_raw() if b"data:" in chunk] == []
    assert trio.current_time() - started < process.settings.grace_s
    assert product.storage.leader() is None


async def test_a_stop_answers_what_is_in_hand_and_takes_nothing_more(product: Product) -> None:
    held, go = threading.Event(), threading.Event()
    async with full_server(product) as (process, url), client(url) as connected:
        kbs = process.kbs.kbs

        def slow() -> Any:
            held.set()
            assert go.wait(LONG)
            return kbs()

        await names(connected)
        process.kbs.kbs = slow  # type: ignore[method-assign]
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await call(connected, "kb_list"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.to_thread.run_sync(held.wait)
            process.kbs.kbs = kbs  # type: ignore[method-assign]
            process.stop()
            while (refused := await post(url, {})).status_code == 200:
                pass
            assert refused.status_code == 503
            assert "stopping" in refused.json()["detail"]
            assert answers == []
            go.set()
        assert answers[0]["kbs"][0]["name"] == "notes"


async def test_a_call_that_does_not_end_holds_up_no_stop(
    product: Product, autojump_clock: object
) -> None:
    """Whoever sends a request that never ends is waited for no longer than half the grace."""
    process = ServerProcess(product.services(grace_s=10.0), embeds=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(process.run)
        with process.mcp.in_hand():
            started = trio.current_time()
            process.stop()
            await process.answered.wait()
            assert trio.current_time() - started == pytest.approx(5.0, abs=0.1)

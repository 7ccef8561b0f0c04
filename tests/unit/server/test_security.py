"""Closed unless opened: tokens, tiers, names, pages, rates and bodies."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from quart.testing.connections import WebsocketResponseError

from pyrite.auth.authentication import check_bind
from pyrite.auth.tokens import Tier
from pyrite.config.settings import Settings
from pyrite.errors import ConfigError
from tests.unit.server.authentication import THERE, AuthenticatedNode, Client, client, make_node

OPEN = ("/open", "/healthz")
WRITE = {"method": "POST", "json": {"a": 1}}


async def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, await response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    found = await response.get_json(force=True)
    assert found["status"] == status
    return found


async def turned_away(connection: Any) -> Any:
    """What a WebSocket is answered that is not accepted."""
    async with connection as feed:
        with pytest.raises(WebsocketResponseError) as refused:
            await feed.receive()
    return refused.value.response


# Without tokens


async def test_without_tokens_this_computer_may_do_everything() -> None:
    async with client(make_node()) as someone:
        assert await (await someone.ask("/api/read")).get_json() == {"tier": "admin", "name": None}
        assert (await someone.ask("/api/admin", "POST")).status_code == 200
        unix = {"client": None, "server": None}
        assert (await someone.ask("/api/read", where=unix)).status_code == 200
        unix_path = {"client": None, "server": ("/run/pyrite.sock", None)}
        assert (await someone.ask("/api/read", where=unix_path)).status_code == 200


async def test_without_tokens_no_other_computer_may_do_anything() -> None:
    async with client(make_node()) as someone:
        host = {"Host": "192.168.1.5:8707"}
        refused = await someone.ask("/api/read", where=THERE, headers=host)
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="pyrite"'
        await problem_of(refused, 401)
        for path in OPEN:
            assert (await someone.ask(path, where=THERE, headers=host)).status_code == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_without_tokens_what_came_through_a_proxy_is_no_longer_local(name: str) -> None:
    async with client(make_node()) as someone:
        await problem_of(await someone.ask("/api/read", headers={name: "x"}), 401)


async def test_without_tokens_only_the_names_of_this_computer_open_it() -> None:
    async with client(make_node(allowed_hosts="notes.example")) as someone:
        await problem_of(await someone.ask("/api/read", headers={"Host": "notes.example"}), 401)


# Tokens and tiers


@pytest.mark.parametrize("where", [None, THERE])
async def test_with_a_token_everybody_needs_one(where: dict[str, Any] | None) -> None:
    node = make_node()
    token = node.tokens.create("laptop", Tier.READ)
    async with client(node) as someone:
        more = {"where": where, "headers": {"Host": "192.168.1.5"}} if where else {}
        await problem_of(await someone.ask("/api/read", **more), 401)
        allowed = await someone.ask("/api/read", token=token, **more)
        assert await allowed.get_json() == {"tier": "read", "name": "laptop"}


@pytest.mark.parametrize("tier", list(Tier))
async def test_each_tier_includes_those_below(tier: Tier) -> None:
    node = make_node()
    token = node.tokens.create("t", tier)
    async with client(node) as someone:
        for needed, path, more in (
            (Tier.READ, "/api/read", {}),
            (Tier.WRITE, "/api/write/x", WRITE),
            (Tier.ADMIN, "/api/admin", {"method": "POST"}),
        ):
            answer = await someone.ask(path, token=token, **more)
            if tier.includes(needed):
                assert answer.status_code == 200
            else:
                found = await problem_of(answer, 403)
                assert found["detail"] == (
                    f"this needs a token of the tier {needed}; this one is of the tier {tier}"
                )
                challenge = answer.headers["WWW-Authenticate"]
                assert f'error="insufficient_scope", scope="{needed}"' in challenge


def secret_of(token: str) -> str:
    return token.split("_", 2)[2]


def wrong_ones(token: str) -> dict[str, str]:
    """What is not that token, by what it is."""
    return {
        "another secret": token[:-4] + "AAAA",
        "no secret": token.removesuffix(secret_of(token)),
        "an unknown id": f"pyrite_0000_{secret_of(token)}",
        "a secret alone": secret_of(token),
        "something else": "hunter2",
        "nothing": "",
        "two words": f"{token} {token}",
        "not for a header": "ünïcode",
        "very long": "a" * 5000,
    }


@pytest.mark.parametrize("kind", list(wrong_ones("pyrite_a_b")))
async def test_a_wrong_token_is_refused_and_not_logged(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = make_node()
    token = node.tokens.create("laptop", Tier.ADMIN)
    wrong = wrong_ones(token)[kind]
    async with client(node) as someone:
        with caplog.at_level(logging.DEBUG):
            refused = await someone.ask("/api/read", token=wrong, where=THERE | {"server": None})
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    await problem_of(refused, 401)
    (record,) = (r for r in caplog.records if "not valid" in r.message)
    assert record.peer == "192.168.1.9"
    assert record.token_name == ("laptop" if token[:20] in wrong and kind != "two words" else None)
    for each in caplog.records:
        assert secret_of(token)[:20] not in str(vars(each))
        assert "hunter2" not in str(vars(each))


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "bearer", "Token x"])
async def test_other_credentials_are_refused_even_without_tokens(header: str) -> None:
    async with client(make_node()) as someone:
        await problem_of(await someone.ask("/api/read", headers={"Authorization": header}), 401)


async def test_a_token_that_is_wrong_does_not_close_what_is_open_to_all() -> None:
    node = make_node()
    node.tokens.create("t", Tier.READ)
    async with client(node) as someone:
        for path in OPEN:
            assert (await someone.ask(path, token="hunter2")).status_code == 200


async def test_the_scheme_may_be_written_in_any_case() -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    async with client(node) as someone:
        headers = {"Authorization": f"bEARER  {token}"}
        assert (await someone.ask("/api/read", headers=headers)).status_code == 200


async def test_a_token_expires() -> None:
    node = make_node()
    now = [1000.0]
    node = AuthenticatedNode(node.settings, clock=lambda: now[0])
    token = node.tokens.create("t", Tier.READ, expires_in_s=60.0)
    async with client(node) as someone:
        assert (await someone.ask("/api/read", token=token)).status_code == 200
        now[0] = 1060.0
        await problem_of(await someone.ask("/api/read", token=token), 401)
        # It still closes the server to those who show nothing.
        await problem_of(await someone.ask("/api/read"), 401)


async def test_a_revoked_token_works_no_longer(autojump_clock: trio.testing.MockClock) -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    node.tokens.create("other", Tier.READ)
    async with client(node) as someone:
        assert (await someone.ask("/api/read", token=token)).status_code == 200
        node.tokens.revoke("t")
        await trio.sleep(0.3)
        await problem_of(await someone.ask("/api/read", token=token), 401)


async def test_the_last_token_revoked_opens_nothing_to_its_bearer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    async with client(node) as someone:
        assert (await someone.ask("/api/read", token=token)).status_code == 200
        node.tokens.revoke("t")
        await trio.sleep(0.3)
        await problem_of(await someone.ask("/api/read", token=token), 401)
        assert (await someone.ask("/api/read")).status_code == 200


async def test_the_first_token_closes_the_server(autojump_clock: trio.testing.MockClock) -> None:
    node = make_node()
    async with client(node) as someone:
        assert (await someone.ask("/api/read")).status_code == 200
        node.tokens.create("t", Tier.READ)
        await trio.sleep(0.3)
        await problem_of(await someone.ask("/api/read"), 401)


async def test_tokens_are_read_only_after_a_commit(autojump_clock: trio.testing.MockClock) -> None:
    node = make_node(rate_limit=0.0)
    token = node.tokens.create("t", Tier.READ)
    reads, rows = [], node.storage.tokens
    node.storage.tokens = lambda: reads.append(1) or rows()
    async with client(node) as someone:
        await someone.ask("/api/read", token=token)
        before = len(reads)
        for _ in range(10):
            await trio.sleep(0.3)
            await someone.ask("/api/read", token=token)
        assert len(reads) == before
        node.storage.add_kb("a", "/a", now=0.0)
        for _ in range(10):
            await someone.ask("/api/read", token=token)
        assert len(reads) == before
        await trio.sleep(0.3)
        await someone.ask("/api/read", token=token)
        assert len(reads) == before + 1


async def test_a_failed_look_at_the_tokens_lets_nobody_in() -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    rows = node.storage.tokens
    async with client(node) as someone:
        node.storage.tokens = lambda: 1 / 0
        assert (await someone.ask("/api/read")).status_code == 500
        assert (await someone.ask("/api/read", token=token)).status_code == 500
        node.storage.tokens = rows
        assert (await someone.ask("/api/read", token=token)).status_code == 200


# Routes


async def test_a_route_that_says_nothing_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with client(make_node()) as someone:
        await problem_of(await someone.ask("/unmarked"), 403)
        await problem_of(await someone.ask("/unmarked", "POST"), 403)
    assert "says nothing of who may call it" in caplog.text


async def test_what_there_is_not_is_told_to_those_who_may_read() -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    async with client(node) as someone:
        await problem_of(await someone.ask("/api/none"), 401)
        await problem_of(await someone.ask("/api/none", token=token), 404)
        wrong_method = await someone.ask("/api/read", "DELETE", token=token)
        assert "GET" in wrong_method.headers["Allow"]
        await problem_of(wrong_method, 405)


# Names and pages


@pytest.mark.parametrize("path", ["/api/read", "/healthz", "/api/none"])
async def test_a_name_that_is_not_the_servers_is_refused(path: str) -> None:
    async with client(make_node()) as someone:
        await problem_of(await someone.ask(path, headers={"Host": "evil.example"}), 421)
        await problem_of(await someone.ask(path, headers={"Host": "a b"}), 400)
        await problem_of(await someone.ask(path, headers={"Host": ""}), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:8707", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_another_sites_page_changes_nothing_and_hears_nothing(
    headers: dict[str, str],
) -> None:
    async with client(make_node()) as someone:
        await problem_of(await someone.ask("/api/write/x", headers=headers, **WRITE), 403)
        await problem_of(await someone.ask("/api/none", "DELETE", headers=headers), 403)
        refused = await turned_away(someone.websocket(headers=headers))
        assert refused.status_code == 403
        # What it only asks for, its browser does not let it read.
        answer = await someone.ask("/api/read", headers=headers)
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_its_own_page_and_no_page_may_write() -> None:
    async with client(make_node()) as someone:
        for headers in (
            {},
            {"Origin": "http://localhost:8707", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ):
            answer = await someone.ask("/api/write/x", headers=headers, **WRITE)
            assert answer.status_code == 200


async def test_an_allowed_page_may_write_and_read_the_answer() -> None:
    node = make_node(allowed_origins="https://app.example")
    token = node.tokens.create("t", Tier.WRITE)
    page = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    async with client(node) as someone:
        answer = await someone.ask("/api/write/x", token=token, headers=page, **WRITE)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        async with someone.websocket(token=token, headers=page) as feed:
            assert await feed.receive() == "t"


async def test_a_preflight_is_answered_for_allowed_pages_alone() -> None:
    node = make_node(allowed_origins="https://app.example")
    node.tokens.create("t", Tier.WRITE)
    asks = {"Access-Control-Request-Method": "PUT"}
    async with client(node) as someone:
        page = {"Origin": "https://app.example"} | asks
        answer = await someone.ask("/api/write/x", "OPTIONS", headers=page)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        other = await someone.ask("/api/write/x", "OPTIONS", headers={"Origin": "https://x"} | asks)
        assert "Access-Control-Allow-Origin" not in other.headers
        await problem_of(other, 403)
        await problem_of(await someone.ask("/api/write/x", "OPTIONS", headers=asks), 403)


async def test_browsers_are_told_to_be_careful() -> None:
    async with client(make_node()) as someone:
        for path in ("/api/read", "/api/none", "/open", "/broken"):
            headers = (await someone.ask(path)).headers
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
        assert (await someone.ask("/tagged")).headers["Cache-Control"] == "private, no-cache"


# WebSockets


async def test_a_websocket_needs_a_token_too() -> None:
    node = make_node()
    token = node.tokens.create("t", Tier.READ)
    async with client(node) as someone:
        for wrong in (None, "hunter2"):
            refused = await turned_away(someone.websocket(token=wrong))
            assert refused.status_code == 401
        async with someone.websocket(token=token) as feed:
            assert await feed.receive() == "t"


async def test_a_websocket_is_refused_under_another_name() -> None:
    async with client(make_node()) as someone:
        refused = await turned_away(someone.websocket(headers={"Host": "evil.example"}))
        assert refused.status_code == 421


# Bodies


async def test_a_body_that_is_too_long_is_refused() -> None:
    async with client(make_node(max_body_bytes=100)) as someone:
        short = await someone.ask("/api/write/x", "POST", json={"a": "b" * 50})
        assert short.status_code == 200
        await problem_of(await someone.ask("/api/write/x", "POST", json={"a": "b" * 100}), 413)


async def test_a_body_in_pieces_is_refused_as_soon_as_it_is_too_long() -> None:
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    async with client(make_node(max_body_bytes=100)) as someone:
        async with someone.request("/api/write/x", "POST", headers) as connection:
            for _ in range(5):
                await connection.send(b"[" + b" " * 30)
            # It does not say that it is complete.
            response = await connection.as_response()
        await problem_of(response, 413)


@pytest.mark.parametrize("levels", [32, 33, 50_000, 300_000])
async def test_a_body_that_is_nested_too_deep_is_refused(levels: int) -> None:
    body = b"[" * levels + b"]" * levels
    headers = {"Content-Type": "application/json"}
    async with client(make_node()) as someone:
        answer = await someone.ask("/api/write/x", "POST", data=body, headers=headers)
        if levels <= 32:
            assert answer.status_code == 200
        else:
            assert (await problem_of(answer, 422))["title"] == "Nested too deep"


async def test_json_is_utf8() -> None:
    headers = {"Content-Type": "application/json"}
    async with client(make_node()) as someone:
        for encoding in ("utf-16", "utf-32-le"):
            body = '{"a": 1}'.encode(encoding)
            await problem_of(
                await someone.ask("/api/write/x", "POST", data=body, headers=headers), 400
            )


async def test_the_body_of_somebody_unknown_is_not_read() -> None:
    node = make_node()
    node.tokens.create("t", Tier.WRITE)
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    async with client(node) as someone:
        async with someone.request("/api/write/x", "POST", headers) as connection:
            response = await connection.as_response()
        await problem_of(response, 401)


# Rates


async def test_who_asks_too_often_is_told_when_to_come_back(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(rate_limit=2.0)
    tokens = [node.tokens.create(name, Tier.READ) for name in "ab"]
    async with client(node) as someone:
        for _ in range(2):
            assert (await someone.ask("/api/read", token=tokens[0])).status_code == 200
        refused = await someone.ask("/api/read", token=tokens[0])
        assert refused.headers["Retry-After"] == "1"
        assert (await problem_of(refused, 429))["detail"].startswith("wait 1 s; ")
        # By token, not by address; and the checks of a supervisor never count.
        assert (await someone.ask("/api/read", token=tokens[1])).status_code == 200
        for _ in range(5):
            assert (await someone.ask("/healthz")).status_code == 200


async def test_a_long_wait_is_told_in_seconds() -> None:
    async with client(make_node(rate_limit=0.001)) as someone:
        await someone.ask("/api/read")
        refused = await someone.ask("/api/read")
        assert (await problem_of(refused, 429))["detail"].startswith("wait 1000 s; ")


async def test_those_without_a_token_are_told_apart_by_address() -> None:
    node = make_node(rate_limit=1.0)
    node.tokens.create("t", Tier.READ)

    async def status(someone: Client, address: str) -> int:
        where = {"client": (address, 1), "server": None}
        return (await someone.ask("/api/read", where=where, token="guess")).status_code

    async with client(node) as someone:
        assert [await status(someone, "10.0.0.1") for _ in range(2)] == [401, 429]
        assert await status(someone, "10.0.0.2") == 401


async def test_no_rate_is_no_limit() -> None:
    async with client(make_node(rate_limit=0.0)) as someone:
        assert {(await someone.ask("/api/read")).status_code for _ in range(50)} == {200}


# Listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "unix:/run/p.sock"])
def test_this_computers_own_addresses_need_no_token(host: str) -> None:
    node = make_node()
    check_bind(host, node.tokens)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "nas.example"])
def test_any_other_address_does(host: str) -> None:
    node = make_node()
    with pytest.raises(ConfigError, match="`pyrite token create NAME --tier"):
        check_bind(host, node.tokens)
    node.tokens.create("t", Tier.READ)
    check_bind(host, node.tokens)


def test_the_settings_do_not_show_the_token_they_hold() -> None:
    node = make_node(token="pyrite_a_secret")
    assert isinstance(node.settings, Settings)
    assert "secret" not in repr(node.settings)

"""What Prometheus reads: observed as it happens, or read when asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio.testing
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from actors.messages import Statistics, WorkerState
from pyrite.auth.tokens import Tier
from pyrite.config.settings import Settings
from pyrite.server.feed.websocket import Clients
from pyrite.server.routes.metrics import scrape
from tests.unit.server.authentication import HERE, AuthenticatedNode, client, make_app, make_node

HANDBOOK = Path(__file__).parents[3] / "pyrite" / "handbook" / "operations" / "metrics.md"

WORKER = Statistics(
    WorkerState.ENCODING, done=5, failed=1, retried=2, lost=3, released=4, chunks=9, tokens=90
)


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels, but for the standard ones of a process."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return {name: value for name, value in found.items() if name.startswith("pyrite_")}


async def scraped(node: AuthenticatedNode) -> dict[str, float]:
    async with client(node) as someone:
        answer = await someone.ask("/metrics")
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain; version=0.0.4")
        return samples(await answer.get_data(as_text=True))


async def test_the_queue_and_the_worker_are_read() -> None:
    node = make_node()
    node.worker = WORKER
    found = await scraped(node)
    for status in ("pending", "processing", "done", "failed"):
        assert found[f"pyrite_queue_entries{{status={status}}}"] == 0.0
    assert found["pyrite_queue_oldest_pending_age_seconds"] == 0.0
    assert found["pyrite_leader"] == 1.0
    assert found["pyrite_worker_state{state=encoding}"] == 1.0
    assert found["pyrite_worker_state{state=idle}"] == 0.0
    for outcome in ("done", "failed", "retried", "lost", "released"):
        assert found[f"pyrite_claims_ended_total{{outcome={outcome}}}"] == getattr(WORKER, outcome)
    assert found["pyrite_encoded_texts_total"] == 9.0
    assert found["pyrite_encoded_tokens_total"] == 90.0
    assert found["pyrite_feed_last_event"] == 7.0
    assert found["pyrite_websocket_clients"] == 2.0
    assert found["pyrite_websocket_drops_total"] == 1.0


async def test_a_process_without_a_worker_says_nothing_of_one() -> None:
    node = make_node()
    node.leads = False
    found = await scraped(node)
    assert found["pyrite_leader"] == 0.0
    assert not any(name.startswith(("pyrite_worker", "pyrite_encoded")) for name in found)


async def test_what_takes_time_is_observed() -> None:
    node = make_node()
    node.metrics.encoded(8, 0.03)
    node.metrics.encoded(1, 0.004)
    node.metrics.committed(0.002)
    node.metrics.rescued(3)
    found = await scraped(node)
    assert found["pyrite_encode_duration_seconds_count"] == 2.0
    assert found["pyrite_encode_duration_seconds_sum"] == pytest.approx(0.034)
    assert found["pyrite_encode_batch_texts_bucket{le=1.0}"] == 1.0
    assert found["pyrite_encode_batch_texts_bucket{le=8.0}"] == 2.0
    assert found["pyrite_commit_duration_seconds_count"] == 1.0
    assert found["pyrite_claims_rescued_total"] == 3.0


def requests(node: AuthenticatedNode) -> dict[str, float]:
    found = samples(generate_latest(node.metrics.registry).decode())
    prefix = "pyrite_http_request_duration_seconds_count"
    return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}


async def test_requests_are_told_apart_by_route_method_and_status() -> None:
    node = make_node()
    async with client(node) as someone:
        await someone.ask("/api/read")
        for entry in ("a", "b/c"):
            await someone.ask(f"/api/write/{entry}", "POST", json={})
        await someone.ask("/api/write/a", "POST", headers={"Origin": "null"})
        await someone.ask("/api/none/of/these")
        await someone.ask("/broken")
        await someone.ask("/api/read", "BREW")
    assert requests(node) == {
        "{method=GET,route=/api/read,status=200}": 1.0,
        "{method=POST,route=/api/write/<path:what>,status=200}": 2.0,
        "{method=POST,route=/api/write/<path:what>,status=403}": 1.0,
        "{method=GET,route=(none),status=404}": 1.0,
        "{method=GET,route=/broken,status=500}": 1.0,
        "{method=OTHER,route=(none),status=405}": 1.0,
    }


async def test_a_client_that_goes_away_is_counted() -> None:
    node = make_node()
    said = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {},
        "scheme": "http",
        "method": "POST",
        "path": "/api/write/x",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        **HERE,
    }

    async def receive() -> dict[str, object]:
        await trio.testing.wait_all_tasks_blocked()
        return said.pop(0)

    async def send(message: object) -> None:
        raise AssertionError(message)

    await make_app(node)(scope, receive, send)
    assert requests(node) == {
        "{method=POST,route=/api/write/<path:what>,status=499}": 1.0,
    }


async def test_a_websocket_is_no_long_request() -> None:
    node = make_node()
    async with client(node) as someone, someone.websocket() as feed:
        await feed.receive()
    assert requests(node) == {}


async def test_the_scraper_may_prefer_open_metrics() -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with client(make_node()) as someone:
        answer = await someone.ask("/metrics", headers=accept)
        assert answer.content_type.startswith("application/openmetrics-text")
        assert (await answer.get_data(as_text=True)).endswith("# EOF\n")


async def test_a_token_is_needed_where_there_are_any() -> None:
    node = make_node()
    token = node.tokens.create("prometheus", Tier.READ)
    async with client(node) as someone:
        assert (await someone.ask("/metrics")).status_code == 401
        assert (await someone.ask("/metrics", token=token)).status_code == 200


def test_the_files_are_measured(tmp_path: Path) -> None:
    node = AuthenticatedNode(Settings(home=tmp_path))
    (tmp_path / "pyrite.db").write_bytes(b"12")
    (tmp_path / "pyrite.db-wal").write_bytes(b"123")
    found = samples(generate_latest(scrape(node, Clients())).decode())
    assert found["pyrite_database_bytes"] == 2.0
    assert found["pyrite_database_wal_bytes"] == 3.0


async def test_the_handbook_names_every_metric_and_no_other() -> None:
    node = make_node()
    node.worker = WORKER
    node.metrics.encoded(1, 0.1)
    exposed = generate_latest(scrape(node, Clients())).decode()
    families = set(re.findall(r"^# TYPE (pyrite_\w+) ", exposed, re.MULTILINE))
    families = {name for name in families if not name.endswith("_created")}
    listed = set(re.findall(r"^\| `(pyrite_\w+)`", HANDBOOK.read_text("utf-8"), re.MULTILINE))
    assert listed == families

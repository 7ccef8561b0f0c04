"""The REST API, through the app and the real services, without a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import trio

from pyrite.auth.tokens import Tier
from pyrite.errors import FilesMissingError
from pyrite.server.app import create_app
from pyrite.storage.sqlite.connection import Connections
from pyrite.storage.sqlite.driver import sqlite3
from tests.fakes.node import FakeNode


class Client:
    """Requests to an app, from this computer."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self._client = create_app(node).test_client()

    async def __call__(self, method: str, path: str, **request: Any) -> Answer:
        given = await self._client.open(path, method=method, **request)
        text = (await given.get_data()).decode()
        return Answer(given.status_code, dict(given.headers), text)

    async def create(self, entry_id: str, **entry: Any) -> Answer:
        answer = await self("POST", "/api/kbs/notes/entries", json={"id": entry_id, **entry})
        assert answer.status == 201, answer.text
        return answer


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.text = text

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == self.status
        return str(self.json["detail"])


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[Client]:
    node.add_kb()
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield Client(node)
        nursery.cancel_scope.cancel()
    node.close()


ENTRY = "/api/kbs/notes/entries/ops/backups"
TEXT = {
    "title": "Backups",
    "type": "howto",
    "summary": "Copies",
    "tags": ["ops"],
    "body": "Thirty days.\n",
    "fields": {"owner": {"name": "Kim", "since": 2020}},
}


async def test_knowledge_bases_come_and_go(client: Client) -> None:
    made = await client("POST", "/api/kbs", json={"name": "wiki"})
    assert (made.status, made.headers["location"]) == (201, "/api/kbs/wiki")
    assert (client.node.home / "kbs" / "wiki").is_dir()
    listed = (await client("GET", "/api/kbs")).json["kbs"]
    assert [kb["name"] for kb in listed] == ["notes", "wiki"]
    assert (await client("GET", "/api/kbs/wiki")).json == made.json == listed[1]
    assert (await client("POST", "/api/kbs", json={"name": "wiki"})).status == 409
    assert (await client("DELETE", "/api/kbs/wiki")).status == 204
    assert (await client("DELETE", "/api/kbs/wiki")).status == 404
    assert (client.node.home / "kbs" / "wiki").is_dir()


async def test_a_folder_can_be_given_and_is_not_told(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    made = await client("POST", "/api/kbs", json={"name": "else", "path": str(folder)})
    assert made.status == 201
    assert "elsewhere" not in made.text
    taken = await client("POST", "/api/kbs", json={"name": "again", "path": str(folder)})
    assert taken.status == 409
    assert taken.problem == "the path is that of the knowledge base 'else' already"


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"name": "a/b"}, "name", "cannot name a knowledge base"),
        ({"name": "x", "path": "relative"}, "path", "path must be absolute"),
        ({"name": "x", "path": "/no/such/folder"}, "path", "the folder is not there"),
        ({"name": "x" * 300}, "name", "longer than 200 bytes"),
    ],
)
async def test_what_is_no_knowledge_base_is_refused(
    client: Client, body: dict[str, str], field: str, detail: str
) -> None:
    refused = await client("POST", "/api/kbs", json=body)
    assert refused.status == 422
    assert faults(refused) == [(field, refused.problem)]
    assert detail in refused.problem
    assert "/no/such" not in refused.text


async def test_a_create_answers_at_once_with_what_is_pending(client: Client) -> None:
    made = await client.create("ops/backups", **TEXT)
    assert made.json == {
        "kb": "notes",
        "id": "ops/backups",
        "revision": 1,
        "changed": True,
        "embedding": "pending",
    }
    assert made.headers["etag"] == '"1"'
    assert made.headers["location"] == ENTRY
    shown = await client("GET", made.headers["location"])
    assert shown.headers["etag"] == '"1"'
    assert shown.json == TEXT | {
        "kb": "notes",
        "id": "ops/backups",
        "revision": 1,
        "updated_at": shown.json["updated_at"],
        "embedding": "pending",
    }
    assert client.node.writes == 1


async def test_an_id_is_made_from_the_title_and_is_not_taken_twice(client: Client) -> None:
    entries = "/api/kbs/notes/entries"
    made = await client("POST", entries, json={"title": "Hello, World"})
    assert made.json["id"] == "hello-world"
    again = await client("POST", entries, json={"title": "Hello World"})
    assert (again.status, again.problem) == (
        409,
        "the entry 'hello-world' exists already in 'notes'",
    )
    assert (await client("POST", entries, json={"body": "x"})).status == 422
    assert (await client("POST", "/api/kbs/no/entries", json={"title": "x"})).status == 404


async def test_what_has_not_changed_is_not_sent_again(client: Client) -> None:
    await client.create("ops/backups")
    for tag in ('"1"', 'W/"1"', "*", '"9", "1"'):
        same = await client("GET", ENTRY, headers={"If-None-Match": tag})
        assert (same.status, same.text, same.headers["etag"]) == (304, "", '"1"')
    assert (await client("GET", ENTRY, headers={"If-None-Match": '"2"'})).status == 200


async def test_two_editors_do_not_overwrite_each_other(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    read = {"If-Match": '"1"'}
    first = await client("PATCH", ENTRY, json={"summary": "Mine"}, headers=read)
    assert (first.status, first.headers["etag"]) == (200, '"2"')
    for method, more in (("PATCH", {"json": {}}), ("PUT", {"json": {}}), ("DELETE", {})):
        late = await client(method, ENTRY, headers=read, **more)
        assert (late.status, late.json["revision"], late.headers["etag"]) == (412, 2, '"2"')
        unaware = await client(method, ENTRY, **more)
        assert (unaware.status, unaware.headers["etag"]) == (428, '"2"')
        weak = await client(method, ENTRY, headers={"If-Match": 'W/"1"'}, **more)
        assert weak.status == 412
        malformed = await client(method, ENTRY, headers={"If-Match": "foo"}, **more)
        assert (malformed.status, malformed.json["title"]) == (400, "Malformed If-Match")
    assert (await client("GET", ENTRY)).json["summary"] == "Mine"


async def test_a_change_outside_is_not_overwritten_unknowingly(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    (client.node.home.parent / "notes/ops/backups.md").write_text("by hand\n")
    refused = await client("PATCH", ENTRY, json={"summary": "x"}, headers={"If-Match": '"1"'})
    assert refused.status == 412
    assert "changed outside" in refused.problem
    assert "`" not in refused.problem
    forced = await client("PATCH", ENTRY, json={"summary": "x"}, headers={"If-Match": "*"})
    assert forced.status == 200


async def test_put_creates_what_is_not_there(client: Client) -> None:
    made = await client("PUT", ENTRY, json=TEXT, headers={"If-None-Match": "*"})
    assert (made.status, made.headers["location"]) == (201, ENTRY)
    again = await client("PUT", ENTRY, json=TEXT, headers={"If-None-Match": "*"})
    assert again.status == 412
    other = "/api/kbs/notes/entries/other"
    assert (await client("PUT", other, json={}, headers={"If-Match": '"1"'})).status == 412
    assert (await client("PUT", other, json={})).status == 201
    assert (await client("PUT", "/api/kbs/notes/entries/a//b", json={})).status == 422
    assert (await client("PUT", "/api/kbs/no/entries/a", json={})).status == 404


async def test_put_replaces_as_a_whole(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    put = await client(
        "PUT", ENTRY, json={"title": "New", "fields": {"a": None}}, headers={"If-Match": '"1"'}
    )
    assert put.status == 200
    shown = (await client("GET", ENTRY)).json
    assert {name: shown[name] for name in TEXT} == {
        "title": "New",
        "type": "note",
        "summary": "",
        "tags": [],
        "body": "",
        "fields": {"a": None},
    }


async def test_to_put_what_was_got_changes_nothing(client: Client) -> None:
    file = client.node.home.parent / "notes" / "own.md"
    file.write_text("---\nz: 1   # mine\ntags: a, b\n---\n# A heading\n\nText\n")
    client.node.sync.sync(client.node.kbs.kb("notes"))
    before = file.read_bytes()
    got = (await client("GET", "/api/kbs/notes/entries/own")).json
    again = {name: got[name] for name in TEXT}
    put = await client("PUT", "/api/kbs/notes/entries/own", json=again, headers={"If-Match": '"1"'})
    assert (put.status, put.json["changed"], put.headers["etag"]) == (200, False, '"1"')
    assert file.read_bytes() == before


async def test_a_patch_merges(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    patched = await client(
        "PATCH",
        ENTRY,
        data=json.dumps({"title": None, "tags": ["x"], "fields": {"owner": {"since": None}}}),
        headers={"If-Match": '"1"', "Content-Type": "application/merge-patch+json"},
    )
    assert patched.status == 200
    shown = (await client("GET", ENTRY)).json
    assert (shown["title"], shown["tags"], shown["body"]) == ("backups", ["x"], TEXT["body"])
    assert shown["fields"] == {"owner": {"name": "Kim"}}
    await client(
        "PATCH", ENTRY, json={"fields": {"owner": None, "n": 1}}, headers={"If-Match": "*"}
    )
    assert (await client("GET", ENTRY)).json["fields"] == {"n": 1}
    await client("PATCH", ENTRY, json={"fields": None, "body": None}, headers={"If-Match": "*"})
    shown = (await client("GET", ENTRY)).json
    assert (shown["fields"], shown["body"]) == ({}, "")


async def test_what_is_deleted_is_gone(client: Client) -> None:
    await client.create("ops/backups")
    assert (await client("DELETE", ENTRY, headers={"If-Match": '"1"'})).status == 204
    for method in ("GET", "DELETE", "PATCH"):
        more = {"json": {}} if method == "PATCH" else {}
        gone = await client(method, ENTRY, headers={"If-Match": "*"}, **more)
        assert (gone.status, gone.problem) == (404, "there is no entry 'ops/backups' in 'notes'")


async def test_a_list_leads_from_page_to_page(client: Client) -> None:
    for number in range(5):
        await client.create(f"n/{number}", tags=["even" if number % 2 == 0 else "ödd"])
    path: str | None = "/api/kbs/notes/entries?limit=2&tag=even"
    pages = []
    while path is not None:
        page = await client("GET", path)
        pages.append([entry["id"] for entry in page.json["entries"]])
        link = page.headers.get("link")
        assert (link is not None) == page.json["more"]
        assert "body" not in page.json["entries"][0]
        path = None if link is None else link.partition(">")[0].removeprefix("<")
    assert pages == [["n/0", "n/2"], ["n/4"]]
    odd = await client("GET", "/api/kbs/notes/entries", query_string={"tag": "ödd"})
    assert len(odd.json["entries"]) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("offset=-1", "offset"),
        ("offset=x", "offset"),
        ("limit=1&limit=2", "limit"),
        ("colour=red", "colour"),
    ],
)
async def test_parameters_are_strict(client: Client, query: str, field: str) -> None:
    refused = await client("GET", f"/api/kbs/notes/entries?{query}")
    assert refused.status == 422
    assert [fault["field"] for fault in refused.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=2026-02-30", "until"),
        ("field=x", "field"),
        ("field=a%3Db&field=a%3Dc", "field"),
        ("field=type%3Dnote", "field"),
    ],
)
async def test_filters_have_to_make_sense(client: Client, query: str, field: str) -> None:
    for path in ("kbs/notes/entries?", "search?q=x&"):
        refused = await client("GET", f"/api/{path}{query}")
        assert refused.status == 422
        assert faults(refused) == [(field, refused.problem)]


def faults(refused: Answer) -> list[tuple[str, str]]:
    """The fields at fault, and why."""
    assert refused.json["title"] == "Invalid request"
    return [(fault["field"], fault["reason"]) for fault in refused.json["errors"]]


@pytest.mark.parametrize(
    ("query", "field"), [("q=%20", "q"), ("q=x&limit=900&offset=900", "offset"), ("", "q")]
)
async def test_a_search_names_the_parameter_at_fault(
    client: Client, query: str, field: str
) -> None:
    refused = await client("GET", f"/api/search?{query}")
    assert [name for name, _ in faults(refused)] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "../x"}, "id"),
        ({"id": "a.md"}, "id"),
        ({"body": "x"}, "title"),
        ({"id": "a", "fields": {"tags": []}}, "fields.tags"),
        ({"id": "a", "fields": {"a\0": 1}}, "fields"),
        ({"id": "a", "fields": {"a": "\0"}}, "fields.a"),
        ({"id": "a", "body": "x" * (10 * 2**20 + 1)}, "body"),
    ],
)
async def test_an_entry_that_can_be_none_names_the_field_at_fault(
    client: Client, body: dict[str, Any], field: str
) -> None:
    refused = await client("POST", "/api/kbs/notes/entries", json=body)
    assert refused.status == 422
    assert faults(refused) == [(field, refused.problem)]


async def test_links_in_both_directions(client: Client) -> None:
    await client.create("ops/backups", body="See [[restore#Now|how]].\n\n[[gone]] [[lost]]\n")
    await client.create("ops/restore", body="[back](backups.md)\n")
    found = await client("GET", "/api/kbs/notes/links/ops/backups")
    assert (found.status, found.json["id"]) == (200, "ops/backups")
    assert found.json["links"][0] == {
        "kind": "wiki",
        "target": "restore",
        "fragment": "Now",
        "shown": "how",
        "line": 5,
        "state": "resolved",
        "leads_to": ["ops/restore"],
    }
    assert [each["id"] for each in found.json["backlinks"]] == ["ops/restore"]
    assert (await client("GET", "/api/kbs/notes/links/ops%2Frestore")).status == 200
    assert (await client("GET", "/api/kbs/notes/links/nowhere")).status == 404
    assert (await client("GET", "/api/kbs/none/links/a")).status == 404


async def test_dangling_links_a_page_at_a_time(client: Client) -> None:
    await client.create("ops/backups", body="[[gone]]\n\n[[lost]]\n")
    address = "/api/kbs/notes/dangling-links"
    first = await client("GET", f"{address}?limit=1")
    assert [(each["id"], each["target"]) for each in first.json["links"]] == [
        ("ops/backups", "gone")
    ]
    assert first.json["more"]
    following = first.headers["link"].split(">")[0].removeprefix("<")
    rest = await client("GET", following)
    assert [each["target"] for each in rest.json["links"]] == ["lost"]
    assert not rest.json["more"]
    assert "link" not in rest.headers
    assert (await client("GET", "/api/kbs/none/dangling-links")).status == 404
    assert (await client("GET", f"{address}?limit=0")).status == 422


async def test_many_at_once(client: Client) -> None:
    await client.create("there")
    bulk = await client(
        "POST",
        "/api/kbs/notes/entries/bulk",
        json={"entries": [{"id": "there"}, {"title": "New"}, {"id": "../up"}, {"title": "New"}]},
    )
    assert bulk.status == 200
    assert bulk.json["created"] == 1
    assert [each["status"] for each in bulk.json["results"]] == [
        "exists",
        "created",
        "invalid",
        "exists",
    ]
    assert bulk.json["results"][1] == {
        "status": "created",
        "id": "new",
        "revision": 2,
        "embedding": "pending",
        "error": None,
    }
    too_many = {"entries": [{"id": f"n{n}"} for n in range(1001)]}
    assert (await client("POST", "/api/kbs/notes/entries/bulk", json=too_many)).status == 422
    none = await client("POST", "/api/kbs/notes/entries/bulk", json={"entries": []})
    assert none.status == 422


async def test_an_entry_may_be_called_bulk(client: Client) -> None:
    await client.create("bulk")
    assert (await client("GET", "/api/kbs/notes/entries/bulk")).json["id"] == "bulk"


async def test_a_search_answers_as_the_command_does(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    client.node.embed()
    found = await client("GET", "/api/search", query_string={"q": "thirty days", "kb": "notes"})
    assert found.status == 200
    (hit,) = found.json["hits"]
    assert (hit["kb"], hit["id"], hit["freshness"], hit["revision"]) == (
        "notes",
        "ops/backups",
        "fresh",
        1,
    )
    assert found.json["waited"] is None
    assert (await client("GET", "/api/search?q=x&kb=no")).status == 404
    assert (await client("GET", "/api/search")).json["errors"][0]["field"] == "q"
    assert (await client("GET", "/api/search?q=%20")).status == 422
    assert (await client("GET", "/api/search?q=x&wait_for=99")).status == 404


async def test_a_search_waits_for_a_write_without_a_thread(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.create("ops/backups", **TEXT)
    looked = trio.Event()
    real = client.node.run_sync

    async def run_sync(function: Callable[..., Any], *args: Any) -> Any:
        found = await real(function, *args)
        if getattr(function, "__name__", "") == "revision_status":
            looked.set()
        return found

    monkeypatch.setattr(client.node, "run_sync", run_sync)
    answers: list[Answer] = []

    async def search() -> None:
        answers.append(await client("GET", "/api/search?q=days&wait_for=1&timeout=60"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(search)
        await looked.wait()
        assert not answers
        client.node.embed()
    assert answers[0].json["waited"]["outcome"] == "embedded"
    assert answers[0].json["hits"][0]["freshness"] == "fresh"
    late = await client("GET", "/api/search?q=days&wait_for=1&timeout=0&mode=keyword")
    assert late.json["waited"] is None


async def test_who_waits_for_a_write_reads_no_database_on_the_trio_thread(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.create("ops/backups")
    real, threads = client.node.storage.models, set()

    def models() -> Any:
        threads.add(threading.current_thread())
        return real()

    monkeypatch.setattr(client.node.storage, "models", models)
    assert (await client("GET", "/api/search?q=days&wait_for=1&timeout=0")).status == 200
    assert threads
    assert threading.current_thread() not in threads


async def test_a_wait_ends_when_time_is_over(client: Client) -> None:
    await client.create("ops/backups")
    late = await client("GET", "/api/search?q=days&wait_for=1&timeout=0")
    assert late.json["waited"]["outcome"] == "timed_out"
    await client("PATCH", ENTRY, json={"summary": "x"}, headers={"If-Match": "*"})
    old = await client("GET", "/api/search?q=days&wait_for=1")
    assert old.json["waited"]["outcome"] == "superseded"


async def test_related_entries(client: Client) -> None:
    for entry_id in ("ops/backups", "ops/restore", "ops/other"):
        await client.create(entry_id, **TEXT)
    client.node.embed()
    near = await client("GET", "/api/kbs/notes/related/ops/backups?limit=1&kb=notes")
    assert (near.json["id"], near.json["embedded"], len(near.json["hits"])) == (
        "ops/backups",
        "fresh",
        1,
    )
    assert (await client("GET", "/api/kbs/notes/related/nothing")).status == 404


async def test_the_queue_is_shown(client: Client) -> None:
    await client.create("ops/backups", **TEXT)
    status = await client("GET", "/api/index/embed-status?kb=notes")
    assert (status.json["pending"], status.json["total"], status.json["worker"]) == (1, 1, None)
    assert (await client("GET", "/api/index/embed-status?kb=no")).status == 404
    assert (await client("GET", "/api/index/embed-failures")).json == {
        "failures": [],
        "more": False,
    }


async def test_failures_are_told_and_tried_again(client: Client) -> None:
    def refuse(texts: object) -> None:
        raise RuntimeError("no: /home/somebody/model.bin is odd")

    client.node.encoder.fail = refuse
    for entry_id in ("a", "b"):
        await client.create(entry_id, body="text")
    for _ in range(client.node.settings.max_attempts):
        client.node.embed()
    failed = await client("GET", "/api/index/embed-failures?limit=1")
    assert failed.json["more"]
    assert failed.json["failures"][0]["error"].endswith("no: … is odd")
    assert (await client("POST", "/api/index/embed-retry", json={"ids": ["c"]})).status == 404
    one = await client("POST", "/api/index/embed-retry", json={"kb": "notes", "ids": ["a"]})
    assert one.json == {"retried": [{"kb": "notes", "id": "a"}]}
    rest = await client("POST", "/api/index/embed-retry")
    assert rest.json == {"retried": [{"kb": "notes", "id": "b"}]}


async def test_a_pause_is_written_down(client: Client) -> None:
    assert (await client("POST", "/api/index/pause")).json == {"paused": True}
    assert "paused = true" in client.node.settings.config_path.read_text()
    assert (await client("POST", "/api/index/resume")).json == {"paused": False}
    assert "paused" not in client.node.settings.config_path.read_text()
    client.node.environ["PYRITE_PAUSED"] = "false"
    refused = await client("POST", "/api/index/pause")
    assert refused.status == 409
    assert "PYRITE_PAUSED" in refused.problem


async def test_what_is_no_json_is_named(client: Client) -> None:
    def post(data: str | bytes, media_type: str = "application/json") -> Any:
        return client(
            "POST", "/api/kbs/notes/entries", data=data, headers={"Content-Type": media_type}
        )

    broken = await post('{"title": ')
    assert broken.status == 400
    assert "line 1, column 11" in broken.problem
    assert (await post(b'{"title": "\xff"}')).status == 400
    assert (await post('{"title": "x", "fields": {"a": NaN}}')).status == 400
    assert (await post('{"title": "x", "fields": {"a": ' + "1" * 5000 + "}}")).status == 400
    wrong = await post("{}", "text/plain")
    assert (wrong.status, wrong.headers["accept"]) == (415, "application/json")
    half = await post('{"title": "\\ud800"}')
    assert half.status == 422
    assert half.json["errors"][0]["field"] == "title"
    strict = await post('{"title": 7, "tags": "ops", "colour": 1}')
    assert [fault["field"] for fault in strict.json["errors"]] == ["title", "tags", "colour"]


async def test_what_is_not_there_is_told_in_json_too(client: Client) -> None:
    for nowhere in ("/nowhere", "/api/nowhere"):
        assert "/api/docs lists those there are" in (await client("GET", nowhere)).problem
    refused = await client("PATCH", "/api/kbs", json={})
    assert refused.status == 405
    assert {"GET", "POST"} <= set(refused.headers["allow"].split(", "))


async def test_a_bug_is_logged_and_not_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("/etc/passwd")

    monkeypatch.setattr(client.node.kbs, "kbs", broken)
    failed = await client("GET", "/api/kbs")
    assert failed.status == 500
    assert "passwd" not in failed.text
    assert "RuntimeError" not in failed.text
    assert "/etc/passwd" in caplog.text


async def test_a_database_that_cannot_be_used_now_is_no_bug(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(client.node.kbs, "kbs", full)
    refused = await client("GET", "/api/kbs")
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    assert refused.json["title"] == "Database unavailable"
    assert "disk" not in refused.text
    assert "disk is full" in caplog.text


async def test_a_creation_that_the_database_refused_can_be_tried_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "commit", busy)
        refused = await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    again = await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert again.status == 201


async def test_a_folder_that_is_away_is_not_a_missing_knowledge_base(client: Client) -> None:
    (client.node.home.parent / "notes").rmdir()
    away = await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert (away.status, away.headers["retry-after"]) == (503, "10")
    assert away.problem == "the folder of the knowledge base 'notes' is not there"


async def test_a_knowledge_base_whose_files_are_gone_is_unavailable(
    client: Client,
) -> None:
    await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert (await client("GET", "/api/kbs/notes")).json["unavailable"] is None
    (client.node.home.parent / "notes" / "x.md").unlink()
    with pytest.raises(FilesMissingError):
        client.node.sync.sync(client.node.kbs.kb("notes"))
    (listed,) = (await client("GET", "/api/kbs")).json["kbs"]
    assert (listed["entries"], listed["unavailable"]) == (1, "its only file is gone")
    refused = await client("POST", "/api/kbs/notes/entries", json={"title": "y"})
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    assert refused.problem.startswith("the knowledge base 'notes' is unavailable: its only file")
    assert (await client("GET", "/api/kbs/notes/entries/x")).status == 200


async def test_the_app_waits_for_its_node(tmp_path: Path) -> None:
    app = create_app()
    node = FakeNode(tmp_path)
    app.extensions["pyrite"] = node
    answer = await app.test_client().get("/api/kbs")
    assert await answer.get_json() == {"kbs": []}
    node.close()


@pytest.mark.parametrize("path", ["/", "/api", "/api/"])
async def test_who_types_in_the_name_alone_is_led_to_the_documentation(
    client: Client, path: str
) -> None:
    client.node.tokens.create("laptop", Tier.READ)
    led = await client("GET", path)
    assert led.status == 302
    assert urljoin(f"http://host/prefix{path}", led.headers["location"]) == (
        "http://host/prefix/api/docs"
    )


async def test_the_feed_is_no_page(client: Client) -> None:
    told = await client("GET", "/ws")
    assert (told.status, told.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in told.problem


async def test_a_database_that_is_moved_away_is_read_on_and_written_once_it_is_back(
    client: Client,
) -> None:
    await client.create("before", title="Before")
    path = client.node.storage.path
    path.rename(path.with_name("away.db"))
    refused = await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    assert refused.problem == "the database file is not the one that it was; nothing was written"
    assert (await client("GET", "/api/kbs/notes/entries/before")).status == 200
    unready = await client("GET", "/readyz")
    assert (unready.status, unready.json["reasons"]) == (503, ["database"])
    path.with_name("away.db").rename(path)
    again = await client("POST", "/api/kbs/notes/entries", json={"title": "x"})
    assert again.status == 201

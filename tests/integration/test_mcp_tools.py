"""Every tool, resource and prompt of the MCP server, in this process, by the SDK's client."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import msgspec
import pytest
import trio
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from msgspec import structs

import pyrite
from actors.lifecycle import Status
from actors.messages import WorkerState
from actors.ports import RefusedTextError
from pyrite.auth.tokens import Tier
from pyrite.errors import ModelError
from pyrite.mcp.executor import ToolExecutor
from pyrite.mcp.resources import PAGE
from pyrite.mcp.server import PyriteServer, instructions
from pyrite.mcp.tools import GROUPS
from pyrite.mcp.tools.indexing import MOST_EMBEDDED
from pyrite.services.services import Services
from pyrite.storage.records import BULK
from pyrite.storage.sqlite.driver import sqlite3
from tests.conformance.hands import entry, record
from tests.integration.hands import KB, LONG, Product, Words
from tests.integration.test_fallback import row

READ = {
    *("kb_list", "search", "entry_get", "entry_list", "related", "links"),
    *("embed_status", "embed_failures"),
}
WRITE = {"entry_create", "entry_update", "entry_delete", "index_sync", "embed_retry"}
ADMIN = {"kb_add", "kb_remove", "index_pause", "index_resume"}


#: Of each tool, the method that is it, and the type of what it answers.
TOOLS = {
    name: method
    for group in GROUPS
    for name, method in vars(group).items()
    if hasattr(method, "_pyrite_tool")
}
RETURNS = {name: get_type_hints(method)["return"] for name, method in TOOLS.items()}
# Two types of object cannot be told apart by themselves.
ANSWERS = {**RETURNS, "links": dict[str, Any]}
#: What only the command tells.
ELSEWHERE = {
    **dict.fromkeys(("entry_get", "entry_list", "entry_create", "entry_update"), ("path",)),
    **dict.fromkeys(("kb_add", "kb_remove"), ("overlaps",)),
}


class Hands:
    """A connected client, whose every answer is held to the tool's own schema and type."""

    def __init__(
        self, client: Client, product: Product, executor: ToolExecutor, encoder: Words
    ) -> None:
        self.client = client
        self.product = product
        self.executor = executor
        self.encoder = encoder
        self.schemas: dict[str, Any] = {}

    async def ok(self, tool: str, **arguments: object) -> Any:
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        content = result.structured_content
        jsonschema.validate(content, self.schemas[tool])
        msgspec.convert(content, ANSWERS[tool])
        # The text says the same, without what is null.
        assert json.loads(result.content[0].text) == told(content)  # type: ignore[union-attr]
        return content

    async def refused(self, tool: str, **arguments: object) -> str:
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.structured_content
        text: str = result.content[0].text  # type: ignore[union-attr]
        assert "Traceback" not in text
        assert "\n" not in text
        return text


def told(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items() if each is not None}
    return [told(each) for each in value] if isinstance(value, list) else value


@asynccontextmanager
async def connected(
    product: Product,
    tier: Tier = Tier.ADMIN,
    encoder: Words | None = None,
    environ: Mapping[str, str] | None = None,
    **executor: Any,
) -> AsyncIterator[Hands]:
    encoder = encoder or Words(product.settings.model)
    services = Services(environ or {}, product.settings, storage=product.storage, encoder=encoder)
    made = ToolExecutor(services, **executor)
    with trio.fail_after(LONG):
        async with Client(PyriteServer(made, tier)) as client:
            hands = Hands(client, product, made, encoder)
            tools = (await client.list_tools()).tools
            hands.schemas = {tool.name: tool.output_schema for tool in tools}
            yield hands


def poison(texts: Sequence[str]) -> None:
    if any("poison" in text for text in texts):
        raise RefusedTextError("poison cannot be encoded")


def failing() -> Words:
    encoder = Words("fake")
    encoder.fail = poison
    return encoder


class Away(Words):
    def fingerprint(self) -> str:
        raise ModelError("the model 'gone' is not there")


# What is offered


@pytest.mark.parametrize(
    ("tier", "names"),
    [(Tier.READ, READ), (Tier.WRITE, READ | WRITE), (Tier.ADMIN, READ | WRITE | ADMIN)],
)
async def test_a_tier_offers_its_tools_and_hides_the_rest(
    product: Product, tier: Tier, names: set[str]
) -> None:
    async with connected(product, tier) as hands:
        assert set(hands.schemas) == names
        for hidden in (READ | WRITE | ADMIN) - names:
            text = await hands.refused(hidden)
            assert "pyrite mcp --tier" in text
        prompts = {prompt.name for prompt in (await hands.client.list_prompts()).prompts}
        writes = tier is not Tier.READ
        assert prompts == {"answer_from_notes", *(["file_a_note"] if writes else [])}
        assert hands.client.instructions == instructions(tier)
        assert ("entry_update" in instructions(tier)) == writes


async def test_every_tool_says_what_it_does_and_takes(product: Product) -> None:
    async with connected(product) as hands:
        for tool in (await hands.client.list_tools()).tools:
            assert tool.title
            assert tool.description
            assert tool.input_schema["additionalProperties"] is False
            for name, each in tool.input_schema["properties"].items():
                assert each.get("description"), (tool.name, name)
            assert tool.output_schema is not None
            assert tool.output_schema["type"] == "object"
            assert tool.output_schema["required"]
            hints = tool.annotations
            assert hints is not None
            assert hints.open_world_hint is False
            assert hints.read_only_hint is (tool.name in READ)
            destructive = {"entry_update", "entry_delete", "kb_remove"}
            assert hints.destructive_hint is (tool.name in destructive)
            assert hints.idempotent_hint is not None


async def test_what_an_agent_pays_for_at_every_start_is_little(product: Product) -> None:
    async with connected(product, Tier.ADMIN) as hands:
        listed = await hands.client.list_tools()
    sent = listed.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert {tool["name"] for tool in sent["tools"]} == READ | WRITE | ADMIN
    text = json.dumps(sent, ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) < 16 * 1024
    # Some clients do not follow references in what a tool takes.
    assert "$ref" not in json.dumps([tool["inputSchema"] for tool in sent["tools"]])
    assert "$defs" not in text


async def test_a_tool_that_there_is_not(product: Product) -> None:
    async with connected(product) as hands:
        text = await hands.refused("frobnicate")
        assert "there is no tool 'frobnicate'" in text
        assert "search" in text


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("search", {}, "query: field required"),
        ("search", {"query": "x", "limit": 0}, "limit: expected int >= 1"),
        ("search", {"query": "x", "limit": 101}, "limit: expected int <= 100"),
        ("search", {"query": "x", "mode": "magic"}, "mode: it must be one of 'hybrid', 'semantic'"),
        ("search", {"query": "x", "limt": 3}, "limt: extra inputs are not permitted"),
        ("search", {"query": " "}, "the query is empty"),
        ("search", {"query": "x", "since": "monday"}, "since must be a day like 2026-11-30"),
        ("search", {"query": "x", "offset": 999, "limit": 100}, "the offset must be"),
        ("search", {"query": "x", "kb": "nots"}, "there is no knowledge base 'nots'"),
        ("search", {"query": "x", "wait_for": 10_000}, "revision"),
        ("entry_get", {"id": "a", "max_characters": 0}, "max_characters"),
        ("entry_get", {"id": "../../etc/passwd"}, "id"),
        ("entry_create", {"title": "A", "id": "a", "type": 7}, "type"),
        ("entry_create", {"title": "A", "id": "../a"}, "id"),
        ("entry_create", {"title": "A", "fields": {"title": "B"}}, "title"),
        ("entry_update", {"id": "a"}, "say what to change"),
        ("entry_update", {"id": "a", "fields": {"title": "B"}}, "'title' is no extra field"),
        ("entry_update", {"id": "a", "body": "x", "append": "y"}, "either body"),
        ("related", {"id": "a", "kbs": ["nowhere"]}, "there is no knowledge base 'nowhere'"),
        ("embed_retry", {"ids": ["a"]}, "embed_failures lists them"),
        ("kb_add", {"name": "x", "path": "relative"}, "absolute"),
        ("kb_add", {"name": "x", "path": "/nowhere/at/all"}, "not there"),
        ("kb_remove", {"name": "nowhere"}, "there are: notes"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(
    product: Product, tool: str, arguments: dict[str, object], text: str
) -> None:
    product.fill({"a": "Text.\n"})
    async with connected(product) as hands:
        assert text.lower() in (await hands.refused(tool, **arguments)).lower()


# Knowledge bases


async def test_without_a_knowledge_base_the_person_is_told_how_to_make_one(
    product: Product,
) -> None:
    product.kbs.remove_kb(KB)
    async with connected(product) as hands:
        assert await hands.ok("kb_list") == {"kbs": []}
        assert "`pyrite kb add NAME FOLDER`" in await hands.refused("entry_create", title="A")
        folder = str(product.folder)
        assert await hands.ok("kb_add", name="again", path=folder) == {
            "name": "again",
            "path": folder,
        }
        assert (await hands.ok("entry_create", title="A"))["kb"] == "again"
        assert (await hands.ok("kb_remove", name="again"))["name"] == "again"
    assert (product.folder / "a.md").exists()


async def test_with_several_knowledge_bases_one_has_to_be_named(product: Product) -> None:
    product.add_kb("wiki")
    async with connected(product) as hands:
        text = await hands.refused("entry_create", title="A")
        assert "there are: notes, wiki" in text
        await hands.ok("entry_create", title="A", kb="wiki")
        rows = (await hands.ok("kb_list"))["kbs"]
        assert [(row["name"], row["entries"], row["embedded"]) for row in rows] == [
            ("notes", 0, 0),
            ("wiki", 1, 1),
        ]
        assert rows[0]["path"] == str(product.folder)


async def test_a_folder_that_is_away(product: Product) -> None:
    product.folder.rename(product.folder.with_name("elsewhere"))
    async with connected(product) as hands:
        assert "mount or restore" in await hands.refused("entry_create", title="A")
        synced = await hands.ok("index_sync")
        assert synced["kbs"] == []
        assert "is not there" in synced["errors"][0]


# Writing


async def test_an_entry_from_its_beginning_to_its_end(product: Product) -> None:
    async with connected(product) as hands:
        made = await hands.ok(
            "entry_create",
            title="Größe: 日本",
            body="Text 🎉",
            id="log/x",
            type="decision",
            summary="Why",
            tags=["a", "b c"],
            fields={"by": ["ann"], "done": True},
        )
        assert (made["id"], made["changed"], made["embedding"]) == ("log/x", True, "done")
        assert made["warning"] is None
        read = await hands.ok("entry_get", id="log/x")
        assert read["fields"] == {"by": ["ann"], "done": True}
        assert (read["body"], read["more"], read["headings"]) == ("Text 🎉\n", False, [])
        changed = await hands.ok(
            "entry_update",
            id="log/x",
            append="And more.",
            tags=["c"],
            fields={"by": None, "n": 1},
            if_revision=made["revision"],
        )
        assert changed["revision"] > made["revision"]
        again = await hands.ok("entry_get", id="log/x")
        assert again["body"] == "Text 🎉\n\nAnd more."
        assert (again["tags"], again["fields"]) == (["c"], {"done": True, "n": 1})
        stale = await hands.refused(
            "entry_update", id="log/x", body="", if_revision=made["revision"]
        )
        assert "entry_get" in stale
        same = await hands.ok("entry_update", id="log/x", tags=["c"])
        assert not same["changed"]
        assert "entry_get" in await hands.refused("entry_delete", id="log/x", if_revision=1_000)
        assert await hands.ok("entry_delete", id="log/x") == {
            "kb": "notes",
            "id": "log/x",
            "deleted": True,
        }
        assert "there is no entry 'log/x'" in await hands.refused("entry_get", id="log/x")


@pytest.mark.parametrize("body", ["null", "[1, 2]", '{"a": 1}', "7", '"quoted"', "true"])
async def test_a_body_that_looks_like_json_is_a_text(product: Product, body: str) -> None:
    async with connected(product) as hands:
        await hands.ok("entry_create", title="A", body=body, summary=body)
        assert (await hands.ok("entry_get", id="a"))["body"] == f"{body}\n"
        await hands.ok("entry_update", id="a", body=f"{body}{body}")
        assert (await hands.ok("entry_get", id="a"))["body"] == f"{body}{body}"


async def test_an_id_that_is_taken(product: Product) -> None:
    async with connected(product) as hands:
        await hands.ok("entry_create", title="A", id="a")
        for taken in ({"id": "a"}, {}):
            text = await hands.refused("entry_create", title="A", **taken)
            assert "the entry 'a' exists already" in text
            assert "entry_update" in text
            assert "`pyrite" not in text


async def test_an_id_that_is_nearly_right_is_told(product: Product) -> None:
    product.fill({"backups": "Text.\n", "cats": "Text.\n"})
    async with connected(product) as hands:
        for wrong in ("ops/backups", "Backups", "backup"):
            for tool in ("entry_get", "related", "entry_delete"):
                assert "near it: backups" in await hands.refused(tool, id=wrong)
        assert "entry_list" in await hands.refused("entry_get", id="zzzzzzzz")


async def test_a_nearly_right_id_is_told_in_a_large_knowledge_base(product: Product) -> None:
    names = [f"{number:05}" for number in range(5_000)]
    with product.storage.writing() as writing:
        records = [record(KB, entry(name)) for name in (*names, "zebra-crossing")]
        writing.upsert(records, priority=BULK, now=0.0)
    async with connected(product) as hands:
        assert "near it: zebra-crossing" in await hands.refused("entry_get", id="zebra-crosing")


@pytest.mark.parametrize(
    ("encoder", "status", "word"),
    [
        (lambda: Words("fake"), "done", None),
        (lambda: Away("fake"), "pending", "is not there"),
        (failing, "failed", "poison"),
    ],
)
async def test_a_write_stands_whatever_becomes_of_its_embedding(
    product: Product, encoder: Callable[[], Words], status: str, word: str | None
) -> None:
    async with connected(product, encoder=encoder()) as hands:
        made = await hands.ok("entry_create", title="A", body="poison")
        assert made["embedding"] == status
        assert (made["warning"] is None) == (word is None)
        assert word is None or word in made["warning"]
    assert (product.folder / "a.md").exists()


async def test_a_live_worker_is_left_to_it_and_a_degraded_one_is_told_of(product: Product) -> None:
    product.storage.beat(row(os.getpid()))
    async with connected(product, encoder=Away("fake")) as hands:
        made = await hands.ok("entry_create", title="A")
        assert (made["embedding"], made["warning"]) == ("pending", None)
        status = await hands.ok("embed_status")
        assert (status["worker"]["state"], status["pending"]) == ("idle", 1)
        product.storage.beat(row(os.getpid(), WorkerState.DEGRADED, reason="no model.bin"))
        assert "no model.bin" in (await hands.ok("entry_create", title="B"))["warning"]


# Finding


async def test_hits_are_excerpts_with_what_says_how_fresh_they_are(product: Product) -> None:
    product.fill({"long": "# Zebras\n\n" + "Stripes on zebras. " * 400, "cats": "Cats purr.\n"})
    async with connected(product) as hands:
        product.embed(hands.encoder)
        found = await hands.ok("search", query="zebras", limit=1)
        (hit,) = found["hits"]
        assert (hit["id"], hit["freshness"]) == ("long", "fresh")
        assert len(hit["passage"]["text"]) <= 240
        assert hit["scores"]["semantic"] > 0
        product.kbs.create_entry(KB, _draft("New", "About lions."))
        words = await hands.ok("search", query="lions", mode="keyword")
        assert [(h["id"], h["freshness"]) for h in words["hits"]] == [("new", "missing")]
        assert words["freshness"]["pending"] == 1
        assert (await hands.ok("search", query="x", kb=KB, type="none"))["hits"] == []
        waited = await hands.ok("search", query="x", wait_for=1, timeout=0)
        assert waited["waited"]["revision"] == 1


def _draft(title: str, body: str) -> Any:
    from pyrite.vault.entry_files import Draft  # noqa: PLC0415

    return Draft(title, body=body)


async def test_a_search_that_waits_for_a_write_holds_up_no_other(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = product.kbs.create_entry(KB, _draft("New", "About lions.")).revision
    looked = trio.Event()
    real = product.storage.revision_status

    def revision_status(*args: Any) -> Status | None:
        trio.from_thread.run_sync(looked.set)
        return real(*args)

    monkeypatch.setattr(product.storage, "revision_status", revision_status)
    waiting: list[Any] = []

    async with connected(product) as hands, trio.open_nursery() as nursery:

        async def wait() -> None:
            found = await hands.ok("search", query="lions", wait_for=revision, timeout=60)
            waiting.append(found)

        nursery.start_soon(wait)
        await looked.wait()
        assert (await hands.ok("search", query="lions"))["freshness"]["pending"] == 1
        assert not waiting
        await trio.to_thread.run_sync(product.embed, hands.encoder)
    (found,) = waiting
    assert found["waited"]["outcome"] == "embedded"
    assert [hit["freshness"] for hit in found["hits"]] == ["fresh"]


async def test_without_a_model_words_are_searched_and_the_answer_says_so(product: Product) -> None:
    product.fill({"a": "Zebras.\n"})
    product.embed(Words("fake"))
    async with connected(product, encoder=Away("fake")) as hands:
        found = await hands.ok("search", query="zebras")
        assert [hit["id"] for hit in found["hits"]] == ["a"]
        assert "searched by words alone" in found["warning"]
        refused = await hands.refused("search", query="zebras", mode="semantic")
        assert 'mode "keyword"' in refused
        assert "is not there" in await hands.refused("related", id="a")


async def test_related_entries(product: Product) -> None:
    product.fill({"a": "Red paint.\n", "b": "Red ink.\n", "c": "Green tea.\n"})
    async with connected(product) as hands:
        product.embed(hands.encoder)
        near = await hands.ok("related", id="a", limit=1, kbs=[KB])
        assert [hit["id"] for hit in near["hits"]] == ["b"]
        assert near["embedded"] == "fresh"


async def test_entries_are_listed_a_page_at_a_time(product: Product) -> None:
    product.fill({name: f"---\ntags: [t{name}]\n---\nText.\n" for name in "abc"})
    async with connected(product) as hands:
        first = await hands.ok("entry_list", limit=2)
        assert ([entry["id"] for entry in first["entries"]], first["more"]) == (["a", "b"], True)
        assert "body" not in first["entries"][0]
        rest = await hands.ok("entry_list", limit=2, offset=2)
        assert ([entry["id"] for entry in rest["entries"]], rest["more"]) == (["c"], False)
        tagged = await hands.ok("entry_list", tags=["tb"])
        assert [entry["id"] for entry in tagged["entries"]] == ["b"]
        # Some clients give lists as JSON in a text.
        assert await hands.ok("entry_list", tags='["tb"]') == tagged


async def test_several_knowledge_bases_may_be_named(product: Product) -> None:
    product.add_kb("wiki")
    product.add_kb("blog")
    for kb in ("notes", "wiki", "blog"):
        product.fill({"a": "Red paint.\n"}, kb)
    async with connected(product) as hands:
        for kb, found in (
            (None, ["blog", "notes", "wiki"]),
            ("wiki", ["wiki"]),
            (["wiki", "notes"], ["notes", "wiki"]),
            ('["wiki", "notes"]', ["notes", "wiki"]),
        ):
            hits = (await hands.ok("search", query="paint", mode="keyword", kb=kb))["hits"]
            assert sorted(hit["kb"] for hit in hits) == found
            entries = (await hands.ok("entry_list", kb=kb))["entries"]
            assert [entry["kb"] for entry in entries] == found
        for none in ("null", ["wiki", "none"]):
            refused = await hands.refused("search", query="paint", kb=none)
            assert "there are: blog, notes, wiki" in refused


async def test_links_in_both_directions_and_nowhere(product: Product) -> None:
    product.add_kb("wiki")
    product.fill({"a": "[[b#Top]]\n\n[[gone]]\n", "b": "[a](a.md) [[lost]]\n"})
    product.fill({"c": "[[missing]]\n"}, "wiki")
    to_b = {
        "kind": "wiki",
        "target": "b",
        "fragment": "Top",
        "shown": "",
        "line": 1,
        "state": "resolved",
        "leads_to": ["b"],
    }
    async with connected(product, Tier.READ) as hands:
        found = await hands.ok("links", id="a", kb="notes")
        assert found["links"][0] == to_b
        assert [(each["line"], each["state"]) for each in found["links"]] == [
            (1, "resolved"),
            (3, "dangling"),
        ]
        assert [(each["id"], each["kind"]) for each in found["backlinks"]] == [("b", "markdown")]
        assert (await hands.ok("links", id="b", kb="notes"))["backlinks"] == [{**to_b, "id": "a"}]
        nowhere = await hands.ok("links")
        targets = [(each["kb"], each["id"], each["target"]) for each in nowhere["links"]]
        assert targets == [
            ("notes", "a", "gone"),
            ("notes", "b", "lost"),
            ("wiki", "c", "missing"),
        ]
        assert [each["id"] for each in (await hands.ok("links", kb="wiki"))["links"]] == ["c"]
        page = await hands.ok("links", limit=1, offset=1)
        assert ([each["target"] for each in page["links"]], page["more"]) == (["lost"], True)
        assert "say which knowledge base" in await hands.refused("links", id="a")
        assert "near it: a" in await hands.refused("links", id="A", kb="notes")


LONG_BODY = "Before.\n\n# One\n\nFirst.\n\n## Inner\n\nDeep.\n\n# Two\n\nLast.\n"


async def test_a_body_is_read_in_parts(product: Product) -> None:
    product.fill({"a": LONG_BODY})
    async with connected(product) as hands:
        part = await hands.ok("entry_get", id="a", max_characters=20)
        assert part["body"] == "Before.\n\n# One\n\n"
        assert part["more"]
        assert [(h["level"], h["title"]) for h in part["headings"]] == [
            (1, "One"),
            (2, "Inner"),
            (1, "Two"),
        ]
        text, start = "", 0
        while True:
            part = await hands.ok("entry_get", id="a", max_characters=9, start=start)
            text, start = text + part["body"], part["end"]
            if not part["more"]:
                break
        assert text == LONG_BODY
        section = await hands.ok("entry_get", id="a", heading="one")
        assert section["body"] == "# One\n\nFirst.\n\n## Inner\n\nDeep.\n\n"
        assert (await hands.ok("entry_get", id="a", heading="## Inner"))["body"].endswith(
            "Deep.\n\n"
        )
        beyond = await hands.ok("entry_get", id="a", start=10_000)
        assert (beyond["body"], beyond["more"]) == ("", False)
        missing = await hands.refused("entry_get", id="a", heading="Three")
        assert "'One', 'Inner', 'Two'" in missing


async def test_a_body_without_headings(product: Product) -> None:
    product.fill({"a": "Text.\n"})
    async with connected(product) as hands:
        assert "leave heading out" in await hands.refused("entry_get", id="a", heading="One")


# The index


async def test_a_sync_reads_embeds_and_reports(product: Product) -> None:
    async with connected(product) as hands:
        product.write("a.md", "Text.\n")
        product.write("bad.md", "---\n[\n---\n")
        seen: list[tuple[float, float | None]] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append((progress, total))

        result = await hands.client.call_tool("index_sync", {"kb": KB}, progress_callback=note)
        answer = result.structured_content
        assert answer is not None
        jsonschema.validate(answer, hands.schemas["index_sync"])
        (synced,) = answer["kbs"]
        assert synced["created"] == ["a"]
        assert synced["problems"][0]["path"] == "bad.md"
        assert (answer["queued"], answer["warning"]) == (0, None)
        assert seen == [(2, 2)]
        (product.folder / "a.md").rename(product.folder / "b.md")
        (renamed,) = (await hands.ok("index_sync", full=True))["kbs"]
        assert renamed["renamed"] == [{"from": "a", "to": "b"}]


async def test_of_a_great_many_the_rest_is_left_and_the_person_told(product: Product) -> None:
    for number in range(MOST_EMBEDDED + 3):
        product.write(f"n{number}.md", f"Text {number}.\n")
    async with connected(product) as hands:
        answer = await hands.ok("index_sync")
        assert answer["queued"] == 3
        assert "no worker is running" in answer["warning"]
        (synced,) = answer["kbs"]
        assert synced["counts"]["created"] == MOST_EMBEDDED + 3
        assert len(synced["created"]) == 50


async def test_failures_are_listed_and_retried(product: Product) -> None:
    async with connected(product) as hands:
        hands.encoder.fail = poison
        await hands.ok("entry_create", title="A", body="poison")
        listed = await hands.ok("embed_failures", kb=KB)
        assert [(f["id"], f["error"]) for f in listed["failures"]] == [
            ("a", "RefusedTextError: poison cannot be encoded")
        ]
        still = await hands.ok("embed_retry", ids=["a"])
        assert "poison" in still["warning"]
        hands.encoder.fail = None
        assert await hands.ok("embed_retry") == {
            "retried": [{"kb": "notes", "id": "a"}],
            "queued": 0,
            "warning": None,
        }
        assert product.status("a") is Status.DONE
        assert (await hands.ok("embed_failures"))["failures"] == []


async def test_of_many_failures_no_more_are_read_than_told(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.fill({f"n{number}": "poison\n" for number in range(4)})
    product.embed(failing())
    real, limits = product.storage.failures, []

    def failures(kb: str | None, limit: int | None) -> Any:
        limits.append(limit)
        return real(kb, limit)

    monkeypatch.setattr(product.storage, "failures", failures)
    async with connected(product) as hands:
        listed = await hands.ok("embed_failures", limit=2)
        assert (len(listed["failures"]), listed["more"]) == (2, True)
        assert not (await hands.ok("embed_failures", limit=4))["more"]
    assert limits == [3, 5]


async def test_a_pause_is_followed_at_once(product: Product) -> None:
    async with connected(product) as hands:
        assert await hands.ok("index_pause") == {"paused": True}
        made = await hands.ok("entry_create", title="A")
        assert made["embedding"] == "pending"
        assert "paused" in made["warning"]
        assert await hands.ok("index_resume") == {"paused": False}
        assert (await hands.ok("entry_create", title="B"))["embedding"] == "done"


async def test_a_pause_that_the_environment_decides(product: Product) -> None:
    async with connected(product, environ={"PYRITE_PAUSED": "true"}) as hands:
        assert "PYRITE_PAUSED" in await hands.refused("index_resume")


# Resources and prompts


async def test_entries_are_resources(product: Product) -> None:
    product.fill({"Über uns": "Text.\n"})
    async with connected(product) as hands:
        (made,) = (await hands.client.list_resources()).resources
        assert made.uri == "pyrite://notes/%C3%9Cber%20uns"
        read = (await hands.client.read_resource(made.uri)).contents[0]
        assert read.mime_type == "text/markdown"
        assert read.text.endswith("Text.\n")  # type: ignore[union-attr]
        await hands.ok("entry_create", title="Deep", id="a/b/c", body="Inside.", tags=["x"])
        deep = (await hands.client.read_resource("pyrite://notes/a/b/c")).contents[0]
        assert deep.text == "---\ntitle: Deep\ntype: note\ntags:\n  - x\n---\n\nInside.\n"  # type: ignore[union-attr]
        (template,) = (await hands.client.list_resource_templates()).resource_templates
        assert template.uri_template == "pyrite://{kb}/{+id}"
        for uri in ("pyrite://notes/none", "pyrite://nowhere/a", "pyrite://notes/../a", "x://y"):
            with pytest.raises(MCPError):
                await hands.client.read_resource(uri)


async def test_a_resource_that_cannot_be_read_now_is_not_one_that_there_is_not(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.fill({"a": "Text.\n"})

    def busy() -> None:
        raise sqlite3.OperationalError("database is locked")

    async with connected(product) as hands:
        with pytest.raises(MCPError, match="there is no entry") as none:
            await hands.client.read_resource("pyrite://notes/b")
        with pytest.raises(MCPError, match="there is no knowledge base"):
            await hands.client.read_resource("pyrite://wiki/a")
        monkeypatch.setattr(product.storage, "kbs", busy)
        with pytest.raises(MCPError, match="try again in a moment") as later:
            await hands.client.read_resource("pyrite://notes/a")
    assert (none.value.code, later.value.code) == (INVALID_PARAMS, INTERNAL_ERROR)


async def test_resources_are_listed_a_page_at_a_time(product: Product) -> None:
    product.fill({f"n{number:03}": "Text.\n" for number in range(PAGE + 1)})
    async with connected(product) as hands:
        first = await hands.client.list_resources()
        assert len(first.resources) == PAGE
        rest = await hands.client.list_resources(cursor=first.next_cursor)
        assert [each.name for each in rest.resources] == [f"n{PAGE:03}"]
        assert rest.next_cursor is None
        for cursor in ("after:", "after:-1", "after:x", "before:1"):
            with pytest.raises(MCPError):
                await hands.client.list_resources(cursor=cursor)


async def test_prompts(product: Product) -> None:
    async with connected(product) as hands:
        asked = await hands.client.get_prompt(
            "answer_from_notes", {"question": "Why {braces}?", "kb": "notes"}
        )
        text = asked.messages[0].content.text  # type: ignore[union-attr]
        assert "Why {braces}?" in text
        assert "the knowledge base notes" in text
        filed = await hands.client.get_prompt("file_a_note", {"text": "Keep this."})
        assert "Keep this." in filed.messages[0].content.text  # type: ignore[union-attr]


# What may go wrong


async def test_a_bug_is_told_as_one_without_its_text(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(product) as hands:

        def broken() -> list[object]:
            raise RuntimeError("secret")

        monkeypatch.setattr(hands.executor.kbs, "kbs", broken)
        text = await hands.refused("kb_list")
        assert "secret" not in text
        assert "bug" in text


async def test_a_cancelled_write_stands_and_its_entry_stays_queued(product: Product) -> None:
    encoder = Words("fake")
    started = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async with connected(product, encoder=encoder) as hands:
        with trio.CancelScope() as scope:

            def cancel(_: Sequence[str]) -> None:
                trio.from_thread.run_sync(scope.cancel, trio_token=token)
                trio.from_thread.run_sync(started.set, trio_token=token)

            encoder.fail = cancel
            body = "\n\n".join(f"Paragraph {n}. " + "word " * 50 for n in range(40))
            await hands.client.call_tool("entry_create", {"title": "A", "body": body})
        assert scope.cancelled_caught
        assert started.is_set()
        assert product.status("a") is Status.PENDING
        # It was stopped between two calls of the encoder, and can be taken up again.
        assert len(encoder.calls) == 1
        encoder.fail = None
        assert (await hands.ok("entry_update", id="a", summary="S"))["embedding"] == "done"


async def test_a_server_that_stops_takes_nothing_more(product: Product) -> None:
    async with connected(product) as hands:
        await hands.executor.finish(0)
        assert "stopping" in await hands.refused("kb_list")


async def test_the_memory_of_a_model_that_rests_is_given_back(product: Product) -> None:
    async with connected(product) as hands:
        hands.encoder.load()
        await hands.ok("entry_create", title="A")
        await hands.executor.unload_unless_used(3600)
        assert hands.encoder.ready
        await hands.executor.unload_unless_used(0)
        assert not hands.encoder.ready


async def test_over_http_no_path_is_told(product: Product) -> None:
    async with connected(product, local=False) as hands:
        assert "path" not in (await hands.ok("kb_list"))["kbs"][0]
        assert hands.executor.redacted(f"no {product.folder}/x") == "no …"


def answered(tool: str) -> list[str]:
    """The fields of what a tool answers, but for those that are told elsewhere alone."""
    kinds = get_args(RETURNS[tool]) or (RETURNS[tool],)
    named = dict.fromkeys(each.encode_name for kind in kinds for each in structs.fields(kind))
    return [name for name in named if name not in ELSEWHERE.get(tool, ())]


async def test_the_handbook_lists_every_tool_with_its_parameters_and_answer(
    product: Product,
) -> None:
    page = Path(pyrite.__file__).parent / "handbook" / "reference" / "mcp-tools.md"
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", page.read_text(), re.MULTILINE)
    listed = {
        name: (tier, re.findall(r"`(\w+)`", takes), re.findall(r"`(\w+)`", gives))
        for name, tier, takes, gives in rows
    }
    tiers = {Tier.READ: READ, Tier.WRITE: WRITE, Tier.ADMIN: ADMIN}
    async with connected(product) as hands:
        offered = (await hands.client.list_tools()).tools
    assert listed == {
        tool.name: (
            next(tier.value for tier, names in tiers.items() if tool.name in names),
            list(tool.input_schema["properties"]),
            answered(tool.name),
        )
        for tool in offered
    }

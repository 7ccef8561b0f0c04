"""REST, MCP and ``--json`` tell of a thing in the same object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from mcp.client import Client

from pyrite.auth.tokens import Tier
from pyrite.mcp.executor import ToolExecutor
from pyrite.mcp.server import PyriteServer
from pyrite.server.app import create_app
from pyrite.services.services import Services
from tests.fakes.node import FakeNode
from tests.integration.hands import LONG, Words
from tests.integration.shell import Shell, poison

#: A part of a body that is told by itself, which only MCP does.
PART = ("start", "end", "characters", "more", "headings")


@dataclass(frozen=True)
class Case:
    """How each face is asked for the same, and what it tells besides."""

    command: Sequence[str]
    address: str
    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    #: Fields that only one of them has: where an entry's file is, or what MCP calls it.
    besides: Mapping[str, Sequence[str]] = field(default_factory=dict)


ENTRY = "/api/kbs/notes"
CASES = {
    "an entry": Case(
        ("get", "ops/red"),
        f"{ENTRY}/entries/ops/red",
        "entry_get",
        {"id": "ops/red"},
        {"command": ["path"], "tool": ["uri", *PART]},
    ),
    "a list": Case(
        ("list", "--tag", "warm", "--limit", "1"),
        f"{ENTRY}/entries?tag=warm&limit=1",
        "entry_list",
        {"tags": ["warm"], "limit": 1},
        {"command": ["path"], "tool": ["uri"]},
    ),
    "hits": Case(
        ("search", "red paint", "--limit", "2", "--type", "note"),
        "/api/search?q=red%20paint&limit=2&type=note",
        "search",
        {"query": "red paint", "limit": 2, "type": "note"},
    ),
    "hits by words": Case(
        ("search", "red", "--mode", "keyword"),
        "/api/search?q=red&mode=keyword",
        "search",
        {"query": "red", "mode": "keyword"},
    ),
    "what is related": Case(
        ("related", "ops/red"), f"{ENTRY}/related/ops/red", "related", {"id": "ops/red"}
    ),
    "links": Case(
        ("links", "ops/red"),
        f"{ENTRY}/links/ops/red",
        "links",
        {"id": "ops/red"},
        {"tool": ["more"]},
    ),
    "links that lead nowhere": Case(("links", "--dangling"), f"{ENTRY}/dangling-links", "links"),
    "the status": Case(("index", "embed", "--status"), "/api/index/embed-status", "embed_status"),
    "failures": Case(("index", "embed", "--failed"), "/api/index/embed-failures", "embed_failures"),
    "knowledge bases": Case(
        ("kb", "list"), "/api/kbs", "kb_list", {}, {"command": ["path"], "tool": ["path"]}
    ),
}


def test_the_same_is_told_through_every_face(notes: Shell, tmp_path: Path) -> None:
    notes.file(
        "ops/red.md", "---\ntags: [warm]\nby: Kim\n---\n# Red\n\nRed paint. [[sea]] [[no]]\n"
    )
    notes.file("sea.md", "# Sea\n\nNo red: water. [red](ops/red.md)\n")
    notes.file("sun.md", "---\ntags: [warm]\n---\nThe sun, and paint.\n")
    notes.file("bad.md", "Poison.\n")
    notes.ok("index", "sync")
    notes.encoder.fail = poison("Poison")
    assert notes("index", "embed").code == 1
    told = {name: notes.ok(*case.command, "--json").json for name, case in CASES.items()}
    # What a search finds is there to be compared, and a failure has its reason.
    assert len(told["hits"]["hits"]) == 2
    assert told["links"]["backlinks"]
    assert told["failures"]["failures"][0]["error"]
    found = trio.run(asked, tmp_path)
    for name, case in CASES.items():
        by_rest, by_mcp = found[name]
        besides = case.besides
        assert without(told[name], besides.get("command", ())) == by_rest, name
        assert without(by_mcp, besides.get("tool", ())) == by_rest, name


def test_a_write_is_told_of_in_the_same_fields(notes: Shell, tmp_path: Path) -> None:
    notes.encoder.fail = None
    command = notes.ok("create", "--title", "A", "--json").json

    async def write(rest: Any, mcp: Client) -> tuple[Any, Any]:
        made = await rest.post("/api/kbs/notes/entries", json={"title": "B"})
        called = await mcp.call_tool("entry_create", {"title": "C"})
        return json.loads(await made.get_data()), called.structured_content

    by_rest, by_mcp = trio.run(faces, tmp_path, write)
    assert list(without(command, ["path", "warning"])) == list(by_rest)
    assert list(without(by_mcp, ["uri", "warning"])) == list(by_rest)
    for each in (command, by_rest, by_mcp):
        assert (each["kb"], each["changed"]) == ("notes", True)
        assert each["embedding"] in {"pending", "done"}
    assert command["warning"] is None
    assert by_mcp["warning"] is None


async def asked(folder: Path) -> dict[str, tuple[Any, Any]]:
    """What REST and MCP tell in each case."""

    async def ask(rest: Any, mcp: Client) -> dict[str, tuple[Any, Any]]:
        found = {}
        for name, case in CASES.items():
            got = await rest.get(case.address)
            called = await mcp.call_tool(case.tool, dict(case.arguments))
            assert not called.is_error, called.content
            found[name] = json.loads(await got.get_data()), called.structured_content
        return found

    return await faces(folder, ask)


async def faces(folder: Path, use: Any) -> Any:
    """Use the app and the MCP server over the home in a folder."""
    node = FakeNode(folder)
    encoder = Words("fake")
    services = Services({}, node.settings, encoder=encoder)
    node.search = services.search
    server = PyriteServer(ToolExecutor(services), Tier.ADMIN)
    with trio.fail_after(LONG):
        async with Client(server) as client:
            found = await use(create_app(node).test_client(), client)
    services.close()
    node.close()
    return found


def without(told: Any, names: Sequence[str]) -> Any:
    """An object without some fields of its own and of the objects that it lists."""
    kept = {name: value for name, value in told.items() if name not in names}
    return {
        name: [without(each, names) if isinstance(each, dict) else each for each in value]
        if isinstance(value, list)
        else value
        for name, value in kept.items()
    }

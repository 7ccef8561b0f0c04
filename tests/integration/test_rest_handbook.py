"""The curl lines of the handbook work as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trio

import pyrite
from pyrite.server.app import create_app
from pyrite.server.openapi.document import description
from tests.fakes.node import FakeNode

PAGE = Path(pyrite.__file__).parent / "handbook" / "reference" / "rest-api.md"
API = "http://127.0.0.1:8707"


def curl_lines() -> list[list[str]]:
    block = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    lines = [line for line in block.splitlines() if line.startswith("curl ")]
    return [shlex.split(line.replace("$API", f"{API}/api"))[1:] for line in lines]


def request_of(words: list[str]) -> tuple[str, str, dict[str, str], str | None]:
    """The method, address, headers and body that curl would send."""
    method, url, headers, body = "GET", "", {"Host": "127.0.0.1:8707"}, None
    query: list[tuple[str, str]] = []
    given = iter(words)
    for word in given:
        match word:
            case "-X":
                method = next(given)
            case "-H":
                name, _, value = next(given).partition(": ")
                headers[name] = value
            case "--json":
                body = next(given)
                headers["Content-Type"] = "application/json"
            case "--data-urlencode" | "-d":
                name, _, value = next(given).partition("=")
                query.append((name, value))
            case "-G":
                pass
            case _:
                url = word.removeprefix(API)
    return method, url + (f"?{urlencode(query)}" if query else ""), headers, body


async def test_every_line_is_answered_as_it_should_be(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    statuses = []
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        client = create_app(node).test_client()
        for words in curl_lines():
            method, url, headers, body = request_of(words)
            answer = await client.open(url, method=method, headers=headers, data=body)
            statuses.append(answer.status_code)
            # What a worker would do meanwhile.
            node.embed()
        nursery.cancel_scope.cancel()
    node.close()
    assert statuses == [201, 201, 200, 200, 200, 200, 200, 200, 202]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_every_address_is_in_the_table(method: str) -> None:
    text = PAGE.read_text()
    for path, methods in description(create_app())["paths"].items():
        if method in methods:
            shown = path.replace("{job_id}", "{id}")
            rows = [line for line in text.splitlines() if f"`{shown}`" in line]
            assert any(method.upper() in row for row in rows), path

"""The objects of the API: their JSON, their schemas, and what the handbook says of them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct, structs

import pyrite
from pyrite.api import base, commands, entries, events, found, index, kbs, problems, schemas
from pyrite.api.base import encode, plain

MODULES = (base, commands, entries, events, found, index, kbs, problems)
OBJECTS = {
    f"{module.__name__}.{name}": kind
    for module in MODULES
    for name, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Struct) and kind.__module__ == module.__name__
}

#: Which object each command prints, by its row in the handbook.
PRINTED: dict[str, type[Struct]] = {
    "kb add": kbs.KBFolder,
    "kb list": kbs.KB,
    "create": entries.Written,
    "get": entries.Entry,
    "delete": entries.Deleted,
    "index sync": index.FolderSyncs,
    "index embed": index.EmbedRun,
    "index embed --status": index.EmbedStatus,
    "index embed --failed": index.Failures,
    "index embed --retry-failed": index.Retried,
    "index cache import": commands.CacheFile,
    "index cache prune": commands.Pruned,
    "search": found.SearchResult,
    "links": found.Links,
    "import": commands.Imported,
    "export": commands.Exported,
    "related": found.RelatedResult,
    "backup": commands.BackupFile,
    "compact": commands.Compacted,
    "doctor": commands.Findings,
    "token create": commands.Token,
    "token revoke": commands.TokenName,
    "config get": commands.Setting,
    "config set": commands.SettingWritten,
    "config unset": commands.SettingRemoved,
}

#: What a command does not tell: what only MCP does.
NOT_PRINTED = {
    entries.Entry: {"uri"},
    entries.Written: {"uri"},
    index.FolderSyncs: {"warning"},
    index.Retried: {"queued", "warning"},
    found.Links: {"more"},
}


@pytest.mark.parametrize("kind", OBJECTS.values(), ids=OBJECTS.keys())
def test_an_example_is_as_the_schema_says(kind: type[Struct]) -> None:
    (schema,), known = msgspec.json.schema_components([kind], ref_template=schemas.REF)
    document = {**schema, "components": {"schemas": known}}
    shown = schemas.example(kind)
    assert [each.message for each in Draft202012Validator(document).iter_errors(shown)] == []
    made = msgspec.convert(shown, kind)
    assert plain(made) == shown == msgspec.json.decode(encode(made))


def test_what_is_unset_is_not_there() -> None:
    assert plain(kbs.KBFolder(name="notes")) == {"name": "notes"}


def test_an_outline_names_what_is_always_there() -> None:
    assert schemas.outline(found.Links, found.DanglingLinks) == {
        "type": "object",
        "required": ["links"],
    }


def test_a_schema_of_parameters_needs_nothing_else() -> None:
    schema: Any = schemas.inlined(found.SearchResult)
    assert "$ref" not in str(schema)
    assert schema["properties"]["hits"]["items"]["properties"]["freshness"]["enum"]


def rows() -> dict[str, str]:
    page = Path(pyrite.__file__).parent / "handbook" / "commands" / "output-for-programs.md"
    found: dict[str, str] = {}
    for names, text in re.findall(r"^\| (`.*?`) \| (.*) \|$", page.read_text(), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`(.+?)`", names), text)
    return found


@pytest.mark.parametrize("command", PRINTED)
def test_the_handbook_names_every_field_that_a_command_prints(command: str) -> None:
    kind = PRINTED[command]
    told = set(re.findall(r"`(\w+)`", rows()[command]))
    fields = {each.encode_name for each in structs.fields(kind)}
    assert fields - NOT_PRINTED.get(kind, set()) <= told

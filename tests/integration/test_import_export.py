"""Whole collections, in and out, as a person and as a program moves them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrite.knowledge import importing
from pyrite.knowledge.service import KBService
from pyrite.markdown.entry import Entry
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.shell import Shell

PLAN = "---\n# kept\naliases: [Roadmap]\ntags: [work]\n---\nSee [[Home]] #work/now"
HOME = "# Welcome\n\n[[Projects/Plan|the plan]] #start\r\n"
VAULT = {
    "Home.md": HOME,
    "Projects/Plan.md": PLAN,
    "Projects/picture.png": b"\x89PNG",
    "Projects/board.canvas": "{}",
    "Templates/Daily.md": "---\ndate: {{date}}\n---\n#daily\n",
    ".obsidian/templates.json": '{"folder": "Templates"}',
    ".obsidian/app.json": "{}",
    ".trash/Gone.md": "gone",
}


@pytest.fixture
def kb(shell: Shell) -> Path:
    shell.ok("kb", "add", "notes", str(shell.folder))
    return shell.folder


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return fill(tmp_path / "vault", VAULT)


def fill(root: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def files_of(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def entries_of(shell: Shell, kb: str) -> dict[str, Entry]:
    storage = SqliteStorage(shell.home / "pyrite.db")
    try:
        listed = [each for each in storage.entries() if each.kb == kb]
        stored = [storage.entry(kb, each.entry.id) for each in listed]
        return {each.entry.id: each.entry for each in stored if each is not None}
    finally:
        storage.close()


# Import


def test_a_vault_keeps_its_bytes_but_for_new_tags(shell: Shell, kb: Path, vault: Path) -> None:
    ran = shell.ok("import", str(vault), "--no-embed")

    assert ran.out == (
        "notes: 2 created, 2 hidden folders passed over, 2 attachments passed over, "
        "1 template passed over\n"
    )
    assert "is read as an Obsidian vault" in ran.err
    assert "2 entries queued; `pyrite index embed --kb notes` embeds them." in ran.err
    assert files_of(kb) == {
        "Home.md": f"---\ntags:\n  - start\n---\n\n{HOME}".encode(),
        "Projects/Plan.md": VAULT["Projects/Plan.md"]
        .replace("[work]", "[work, work/now]")
        .encode(),
    }
    plan = entries_of(shell, "notes")["Projects/Plan"]
    assert (plan.tags, plan.fields) == (("work", "work/now"), {"aliases": ["Roadmap"]})
    assert shell.ok("index", "sync").out == "notes: 2 unchanged\n"


def test_an_import_done_twice_does_nothing_more(shell: Shell, kb: Path, vault: Path) -> None:
    first = shell.ok("import", str(vault), "--no-embed", "--json").json
    before = files_of(kb), [each.revision for each in _stored(shell)]
    second = shell.ok("import", str(vault), "--no-embed", "--json", "--on-conflict", "fail").json

    assert first["created"] == ["Home", "Projects/Plan"]
    assert second == first | {"created": [], "unchanged": 2}
    assert (first["format"], first["dry_run"], first["problems"]) == ("obsidian", False, [])
    assert first["ignored"] == {"hidden folders": 2, "attachments": 2, "templates": 1}
    assert (files_of(kb), [each.revision for each in _stored(shell)]) == before


def _stored(shell: Shell) -> list[Any]:
    storage = SqliteStorage(shell.home / "pyrite.db")
    try:
        return storage.entries()
    finally:
        storage.close()


def test_what_is_imported_is_embedded(shell: Shell, kb: Path, vault: Path) -> None:
    ran = shell.ok("import", str(vault))

    assert "2 entries embedded." in ran.err
    assert shell.ok("list", "--json").json["entries"][0]["embedding"] == "done"


def test_plain_markdown_goes_into_a_folder(shell: Shell, kb: Path, tmp_path: Path) -> None:
    source = fill(tmp_path / "docs", {"a.md": "# Alpha\n#tag\n", "sub/b.markdown": "text"})
    ran = shell.ok("import", str(source), "--into", "manual/v1", "--no-embed")

    assert "is read as a folder of Markdown" in ran.err
    assert files_of(kb) == {"manual/v1/a.md": b"# Alpha\n#tag\n", "manual/v1/sub/b.md": b"text"}
    titles = {name: entry.title for name, entry in entries_of(shell, "notes").items()}
    assert titles == {"manual/v1/a": "Alpha", "manual/v1/sub/b": "b"}


def test_a_dry_run_writes_nothing(shell: Shell, kb: Path, vault: Path) -> None:
    shell.file("Home.md", "mine")
    shell.ok("index", "sync")
    ran = shell.ok("import", str(vault), "--dry-run", "--on-conflict", "replace")

    assert ran.out.startswith("notes: 1 would be created, 1 would be replaced, ")
    assert "queued" not in ran.err
    assert files_of(kb) == {"Home.md": b"mine"}


def test_what_is_there_is_left_replaced_or_refused(shell: Shell, kb: Path, tmp_path: Path) -> None:
    source = fill(tmp_path / "docs", {"a.md": "---\ntags: [x]\n---\nnew\n", "b.md": "b\n"})
    mine = shell.file("a.md", "---\n# mine\ntags: [y]\nmood: good\n---\nold\n")

    refusal = shell("import", str(source), "--on-conflict", "fail", "--no-embed")
    assert refusal.code == 1
    assert "nothing was imported: 'notes' has these already, in other words: a; " in refusal.err
    assert files_of(kb) == {"a.md": mine.read_bytes()}

    skipped = shell.ok("import", str(source), "--no-embed", "--json").json
    assert (skipped["created"], skipped["skipped"]) == (["b"], ["a"])
    assert b"old" in mine.read_bytes()

    replaced = shell.ok("import", str(source), "--on-conflict", "replace", "--no-embed")
    assert replaced.out == "notes: 1 replaced, 1 there already\n"
    assert mine.read_bytes() == b"---\n# mine\ntags: [x]\n---\nnew\n"
    again = shell.ok("import", str(source), "--on-conflict", "replace", "--no-embed")
    assert again.out == "notes: 2 there already\n"


def test_what_cannot_be_read_is_listed_with_its_line(
    shell: Shell, kb: Path, tmp_path: Path
) -> None:
    source = fill(
        tmp_path / "docs",
        {"bad.md": "---\nok: 1\ntitle: {{x}}\n---\n", "good.md": "x", "latin.md": b"a\n\xe9"},
    )
    ran = shell("import", str(source), "--no-embed")

    assert (ran.code, ran.out) == (1, "notes: 1 created, 2 could not be read\n")
    assert "skipped bad.md:3: not valid YAML" in ran.err
    assert "skipped latin.md:2: the byte 0xE9 is not UTF-8" in ran.err
    assert files_of(kb) == {"good.md": b"x"}


def test_lines_of_json_are_read_from_a_file_or_from_standard_input(
    shell: Shell, kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        json.dumps({"id": "f/a", "title": "A", "tags": ["x"], "body": "text"}),
        "",
        '{"id": "b", "tags": "x"}',
        "nonsense",
        json.dumps({"title": "Some title", "fields": {"n": 1}}),
        json.dumps({"id": "f/a"}),
    ]
    text = "\n".join(lines)
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    first = shell("import", str(tmp_path / "in.jsonl"), "--no-embed", "--json")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    second = shell("import", "-", "--no-embed", "--json")

    assert first.code == second.code == 1
    assert (first.json["format"], first.json["created"]) == ("jsonl", ["f/a", "some-title"])
    assert second.json["unchanged"] == 2
    assert [(each["path"], each["line"]) for each in first.json["problems"]] == [
        *(("in.jsonl", 3), ("in.jsonl", 4), ("in.jsonl", 6)),
    ]
    reasons = [each["reason"] for each in first.json["problems"]]
    assert reasons[2] == "it has the same id, 'f/a', as line 1"
    assert second.json["problems"][0]["path"] == "standard input"
    assert (kb / "f/a.md").read_bytes() == b"---\ntitle: A\ntags:\n  - x\n---\n\ntext"


def test_an_import_that_is_broken_off_goes_on(
    shell: Shell, kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fill(tmp_path / "docs", {f"{number}.md": str(number) for number in range(10)})
    monkeypatch.setattr(importing, "_BATCH", 3)
    real, batches = KBService.create_entries, []

    def create(self: KBService, kb: str, drafts: Any) -> Any:
        batches.append(len(drafts))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return real(self, kb, drafts)

    monkeypatch.setattr(KBService, "create_entries", create)
    ran = shell("import", str(source), "--no-embed")
    assert ran.code == 130
    assert "stopped: 6 entries imported; the same command goes on from here" in ran.err
    assert len(files_of(kb)) == 6

    assert (
        shell.ok("import", str(source), "--no-embed").out == "notes: 4 created, 6 there already\n"
    )


def test_a_file_that_a_crash_left_unindexed_is_known(
    shell: Shell, kb: Path, tmp_path: Path
) -> None:
    source = fill(tmp_path / "docs", {"a.md": "a", "b.md": "b"})
    shell.file("a.md", "a")

    assert (
        shell.ok("import", str(source), "--no-embed").out == "notes: 1 created, 1 there already\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere",), 1, "nowhere is not there"),
        (("my notes/sub",), 1, "is in the knowledge base's own folder"),
        (("my notes/..",), 1, "contains the knowledge base's own folder"),
        (("notes.txt",), 1, "is neither a folder nor a .jsonl file"),
        (("notes.txt", "--format", "markdown"), 2, "is no folder"),
        (("-", "--format", "obsidian"), 2, "is no folder"),
        (("docs", "--format", "jsonl"), 2, "is no file"),
        (("docs", "--into", "../x"), 1, "cannot be an entry's id"),
        (("docs", "--kb", "other"), 1, "there is no knowledge base 'other'"),
    ],
)
def test_what_cannot_be_imported(
    shell: Shell,
    kb: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    fill(kb.parent, {"my notes/sub/a.md": "x", "docs/a.md": "x", "notes.txt": "x"})
    monkeypatch.chdir(kb.parent)
    assert message in shell.refused("import", *arguments, code=code)


# Export

ODD = {
    "plain.md": "no front matter, no end",
    "f/crlf.md": "---\r\ntitle: T\r\nx: [1, 2.5, null]\r\n---\r\n\r\nbody\r\n",
    "f/g/heading.md": "# Heading\n\n---\nnot: front matter\n---\n",
    "log.md": "---\ntype: log\nsummary: s\ntags: [a, b c]\nday: 2026-11-22\n---\n",
    "empty.md": "",
    "bom.md": b"\xef\xbb\xbf---\ntitle: Bom\n---\nx",
}


@pytest.mark.parametrize("target", ["copy", "copy.jsonl"])
def test_what_is_exported_and_imported_is_the_same(shell: Shell, kb: Path, target: str) -> None:
    fill(kb, ODD)
    shell.ok("index", "sync")
    other, copy = kb.parent / "other", kb.parent / target
    other.mkdir()
    shell.ok("kb", "add", "other", str(other))

    shell.ok("export", str(copy), "--kb", "notes")
    shell.ok("import", str(copy), "--kb", "other", "--no-embed")

    assert entries_of(shell, "other") == entries_of(shell, "notes")
    assert len(entries_of(shell, "other")) == len(ODD)
    if target == "copy":
        assert files_of(copy) == files_of(other) == files_of(kb)


def test_filters_choose_what_is_exported(shell: Shell, kb: Path) -> None:
    fill(kb, ODD)
    shell.ok("index", "sync")
    ran = shell.ok("export", "-", "--type", "log", "--kb", "notes")

    (line,) = ran.out.splitlines()
    assert json.loads(line) == {
        "id": "log",
        "title": "log",
        "type": "log",
        "summary": "s",
        "tags": ["a", "b c"],
        "fields": {"day": "2026-11-22"},
        "body": "",
    }


def test_an_export_leaves_other_files_alone(shell: Shell, kb: Path) -> None:
    fill(kb, {"a.md": "a", "b.md": "b", "gone.md": "x"})
    shell.ok("index", "sync")
    (kb / "gone.md").unlink()
    copy = fill(kb.parent / "copy", {"a.md": "mine", "b.md": "b"})
    ran = shell("export", str(copy))

    assert (ran.code, ran.out) == (
        1,
        f"notes: 0 entries exported to {copy}, 1 there already\n",
    )
    assert "skipped a.md: another file of that name is there already" in ran.err
    assert "skipped gone.md: the file is gone" in ran.err
    assert files_of(copy) == {"a.md": b"mine", "b.md": b"b"}
    assert shell("export", str(copy), "--json").json["unchanged"] == 1


def test_a_file_of_lines_is_new_or_refused(shell: Shell, kb: Path) -> None:
    fill(kb, {"a.md": "a"})
    shell.ok("index", "sync")
    target = kb.parent / "out.jsonl"
    result = shell.ok("export", str(target), "--json").json
    assert (result["exported"], result["format"]) == (1, "jsonl")
    assert "exists already" in shell.refused("export", str(target))
    assert json.loads(target.read_text(encoding="utf-8"))["id"] == "a"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("my notes/copy",), 1, "have to be apart"),
        (("-", "--json"), 2, "Standard output takes lines"),
        (("-", "--format", "markdown"), 2, "Standard output takes lines"),
        (("x", "--kb", "a", "--kb", "b"), 2, "one knowledge base at a time"),
        (("x", "--since", "monday"), 2, "monday"),
    ],
)
def test_what_cannot_be_exported(
    shell: Shell,
    kb: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(kb.parent)
    assert message in shell.refused("export", *arguments, code=code)

"""Every command, as a person and as a program uses it."""

from __future__ import annotations

import errno
import io
import re
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from pyrite import __version__
from pyrite.cli import context
from pyrite.cli.main import cli, main, run
from pyrite.config.settings import Settings
from pyrite.errors import ModelError, NotFoundError
from pyrite.storage.records import Space
from pyrite.storage.sqlite import connection
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.shell import Ran, Shell, poison

# All commands


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                walk(each, (*path, name))

    walk(cli, ())
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(shell: Shell, path: tuple[str, ...], option: str) -> None:
    ran = shell.ok(*path, option)
    assert ran.out.startswith(f"Usage: {' '.join(('pyrite', *path))}")
    assert max(map(len, ran.out.splitlines())) <= 100
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert isinstance(command, click.Group) or "Example" in ran.out
    assert all(p.help for p in command.params if isinstance(p, click.Option)), path
    assert not shell.home.exists()


def test_the_version_is_the_products(shell: Shell) -> None:
    assert shell.ok("--version").out == f"pyrite, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("--nonsense",),
        ("kb", "add", "x"),
        ("create",),
        ("create", "--title", "A", "--tag", ""),
        ("update", "a", "--tag", " # "),
        ("update", "a", "--untag", ""),
        ("list", "--tag", ""),
        ("search", "x", "--limit", "0"),
        ("search", "x", "--limit", "1001"),
        ("search", "x", "--limit", "many"),
        ("list", "--limit", "0"),
        ("list", "--offset", "-1"),
        ("search", "x", "--mode", "fuzzy"),
        ("search", "x", "--offset", "-1"),
        ("search", "x", "--wait-for", "now"),
        ("search", "x", "--wait-for", "-1"),
        ("config", "set", "port", "99999"),
        ("config", "get", "nothing-like-it"),
        ("search", "x", "--timeout", "-1"),
        ("search", "x", "--field", "author"),
        ("search", "x", "--field", "=Kim"),
        ("list", "--field", "author"),
        ("related", "x", "--field", "author"),
        ("related",),
        ("related", "x", "--limit", "0"),
        ("index", "cache", "export"),
        ("index", "cache", "import"),
        ("index", "cache", "export", "."),
        ("update", "a", "--if-revision", "x", "--title", "T"),
    ],
)
def test_wrong_usage_is_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    err = shell.refused(*arguments, code=2)
    assert err.startswith("Usage: pyrite")
    assert "\nError: " in err


def test_without_a_command_help_is_shown(shell: Shell) -> None:
    ran = shell()
    assert ran.code == 2
    assert "Search folders of Markdown by meaning and by words." in ran.out + ran.err


# Errors


def test_an_error_is_one_line_and_debug_shows_where_it_is_from(notes: Shell) -> None:
    assert notes.refused("get", "none") == (
        "pyrite: there is no entry 'none' in 'notes'; `pyrite list --kb notes` shows those there "
        "are\n"
    )
    with pytest.raises(NotFoundError):
        run(["--debug", "get", "none"])


def test_a_bug_is_exit_code_70_and_says_what_to_do(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(SqliteStorage, "entries", crash)
    ran = notes("list")
    assert (ran.code, ran.out) == (70, "")
    assert ran.err.startswith("pyrite: ZeroDivisionError: by zero\nThis is a bug in Pyrite, or")
    assert "`pyrite --debug ...`" in ran.err
    assert "Traceback" not in ran.err
    with pytest.raises(ZeroDivisionError):
        run(["--debug", "list"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
    ],
    ids=repr,
)
def test_a_full_disk_is_no_bug(
    notes: Shell, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(SqliteStorage, "entries", fail)
    said = notes.refused("list")
    assert "no space left on a disk" in said
    assert "make room" in said
    with pytest.raises(type(error)):
        run(["--debug", "list"])


def test_another_error_of_the_machine_is_told_apart_from_a_full_disk(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(SqliteStorage, "entries", fail)
    assert notes("list").code == 70


def test_ctrl_c_is_exit_code_130(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SqliteStorage, "entries", interrupt)
    ran = notes("list")
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "pyrite: interrupted")


def test_a_reader_that_has_gone_is_no_error(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(SqliteStorage, "entries", gone)
    ran = notes("list")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_main_exits_with_the_code(notes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, code in ((["kb", "list"], 0), (["get", "none"], 1), (["none"], 2)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == code
    monkeypatch.setattr(sys, "argv", ["pyrite", "get", "none"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1


def test_a_setting_that_cannot_be_used_is_an_error(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRITE_THREADS", "many")
    err = shell.refused("kb", "list")
    assert err == "pyrite: PYRITE_THREADS: threads must be a whole number, not 'many'\n"


def test_a_database_that_is_none_is_an_error(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "pyrite.db").write_bytes(b"no database " * 100)
    assert "pyrite.db cannot be opened: file is not a database" in shell.refused("list")


# pyrite kb


def test_knowledge_bases_come_and_go(shell: Shell) -> None:
    assert "There is no knowledge base yet" in shell.ok("kb", "list").err
    ran = shell.ok("kb", "add", "notes", str(shell.folder))
    assert ran.out == f"notes is {shell.folder}\n"
    assert "`pyrite index sync`" in ran.err
    shell.ok("create", "--no-embed", "--title", "A")
    assert shell.ok("kb", "list").out == f"notes\t1\t0\t1\t0\t{shell.folder}\n"
    ran = shell.ok("kb", "remove", "notes")
    assert ran.out == f"notes is forgotten; its files are still in {shell.folder}\n"
    assert (shell.folder / "a.md").exists()
    assert "no knowledge base 'notes'" in shell.refused("kb", "remove", "notes")
    assert shell.ok("kb", "list", "--json").json == {"kbs": []}


def test_removing_a_large_one_says_what_takes_so_long(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = threading.Event()
    texts: list[str] = []
    remove = SqliteStorage.remove_kb

    def listen(text: str) -> None:
        texts.append(text)
        said.set()

    def slowly(*arguments: Any, **options: Any) -> bool:
        assert said.wait(30)
        return remove(*arguments, **options)

    notes.ok("create", "--no-embed", "--title", "A")
    monkeypatch.setattr("pyrite.cli.output._SLOW_S", 0.0)
    monkeypatch.setattr("pyrite.cli.output.note", listen)
    monkeypatch.setattr(SqliteStorage, "remove_kb", slowly)
    notes.ok("kb", "remove", "notes")
    assert texts == ["forgetting 1 entry of notes ..."]


def test_knowledge_bases_as_json(shell: Shell) -> None:
    added = shell.ok("kb", "add", "notes", str(shell.folder), "--json").json
    assert added == {"name": "notes", "path": str(shell.folder), "overlaps": []}
    del added["overlaps"]
    (listed,) = shell.ok("kb", "list", "--json").json["kbs"]
    assert listed.pop("added_at") > 0
    numbers = dict.fromkeys(("entries", "embedded", "pending", "failed"), 0)
    assert listed == {**added, **numbers, "coverage": 1.0, "unavailable": None}
    assert shell.ok("kb", "remove", "notes", "--json").json == added


def test_a_knowledge_base_that_cannot_be_is_refused(notes: Shell) -> None:
    assert "is not there" in notes.refused("kb", "add", "x", str(notes.folder / "none"))
    assert "'notes' is registered already" in notes.refused("kb", "add", "x", str(notes.folder))
    assert "cannot name a knowledge base" in notes.refused("kb", "add", "a/b", str(notes.folder))


def test_a_folder_inside_another_is_told_of(notes: Shell) -> None:
    inner = notes.folder / "log"
    inner.mkdir()
    warning = f"the folder of log lies in that of notes, {notes.folder}"
    assert warning in notes.ok("kb", "add", "log", str(inner)).err
    assert notes.ok("kb", "add", "log", str(inner), "--json").json["overlaps"] == ["notes"]
    again = notes.ok("kb", "add", "notes", str(notes.folder)).err
    assert warning in again
    assert "`pyrite kb remove notes` undoes this" in again
    beside = notes.folder.with_name(f"{notes.folder.name}-too")
    beside.mkdir()
    assert "Warning" not in notes.ok("kb", "add", "beside", str(beside)).err


def test_forgetting_tells_of_much_empty_space(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "compact" not in notes.ok("kb", "remove", "notes").err
    notes.ok("kb", "add", "notes", str(notes.folder))
    monkeypatch.setattr(SqliteStorage, "space", lambda self: Space(200 * 10**6, 60 * 10**6))
    assert "`pyrite compact` gives the disk back" in notes.ok("kb", "remove", "notes").err


def test_forgetting_a_folder_that_has_gone_says_so(notes: Shell) -> None:
    notes.folder.rmdir()
    ran = notes.ok("kb", "remove", "notes")
    assert ran.out == f"notes is forgotten; its folder {notes.folder} is not there\n"


def test_a_knowledge_base_need_only_be_named_where_there_are_several(
    shell: Shell, tmp_path: Path
) -> None:
    for arguments in (("create", "--title", "A"), ("get", "a"), ("update", "a"), ("delete", "a")):
        assert "There is no knowledge base yet." in shell.refused(*arguments, code=2)
    shell.ok("kb", "add", "one", str(shell.folder))
    shell.ok("create", "--no-embed", "--title", "A")
    (tmp_path / "two").mkdir()
    shell.ok("kb", "add", "two", str(tmp_path / "two"))
    err = shell.refused("create", "--title", "B", code=2)
    assert "Say which knowledge base, with --kb NAME: one, two." in err
    shell.ok("create", "--no-embed", "--title", "B", "--kb", "two")
    assert (tmp_path / "two/b.md").exists()
    assert shell.ok("get", "a", "--kb", "one", "--json").json["kb"] == "one"
    for arguments in (
        *(("create", "--title", "C"), ("get", "a"), ("delete", "a"), ("list",), ("search", "x")),
        *(("index", "sync"), ("index", "embed"), ("index", "embed", "--status")),
    ):
        assert "no knowledge base 'none'" in shell.refused(*arguments, "--kb", "none")


# pyrite create, update, get, delete, list


def test_an_entry_is_created_with_all_that_is_given(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = notes.ok(
        *("create", "--title", "Größe: 日本", "--id", "log/x", "--type", "decision"),
        *("--summary", "Why", "--tag", "a", "--tag", "b c", "--body", "Text 🎉"),
        *("--field", "reviewed=true", "--field", "by=[ann, bo]", "--field", "on=2026-11-22"),
        *("--field", "note=a = b", "--field", "nothing=", "--no-embed"),
    )
    assert re.fullmatch(r"created log/x \(revision \d+\)\n", ran.out)
    assert "`pyrite index embed` makes it searchable" in ran.err
    shown = notes.ok("get", "log/x", "--json").json
    assert {name: shown[name] for name in ("kb", "id", "path", "type", "title", "summary")} == {
        "kb": "notes",
        "id": "log/x",
        "path": "log/x.md",
        "type": "decision",
        "title": "Größe: 日本",
        "summary": "Why",
    }
    assert shown["tags"] == ["a", "b c"]
    assert shown["fields"] == {
        "reviewed": True,
        "by": ["ann", "bo"],
        "on": "2026-11-22",
        "note": "a = b",
        "nothing": None,
    }
    assert shown["body"] == "Text 🎉\n"
    assert shown["embedding"] == "pending"
    human = notes.ok("get", "log/x").out
    for line in ("title      Größe: 日本", "tags       a, b c", "by         ann, bo", "Text 🎉"):
        assert line in human.splitlines()
    assert "nothing" not in human


def test_what_a_write_did_as_json(notes: Shell) -> None:
    created = notes.ok("create", "--title", "A", "--json").json
    assert created == {
        "kb": "notes",
        "id": "a",
        "revision": created["revision"],
        "path": str(notes.folder / "a.md"),
        "changed": True,
        "embedding": "done",
        "warning": None,
    }
    updated = notes.ok("update", "a", "--summary", "S", "--json").json
    assert updated["revision"] > created["revision"]
    again = notes.ok("update", "a", "--summary", "S", "--json").json
    assert again == {**updated, "changed": False}
    assert notes.ok("delete", "a", "--json").json == {"kb": "notes", "id": "a", "deleted": True}


def test_a_body_comes_from_an_option_a_file_or_standard_input(
    notes: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def body(*arguments: str) -> str:
        notes.ok("update", "a", *arguments)
        text: str = notes.ok("get", "a", "--json").json["body"]
        return text

    notes.ok("create", "--no-embed", "--title", "A")
    assert body("--body", "from an option\n") == "from an option\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("from standard input ñ\n"))
    assert body("--body", "-") == "from standard input ñ\n"
    (tmp_path / "text").write_text("from a file ñ\n", encoding="utf-8")
    assert body("--body-file", str(tmp_path / "text")) == "from a file ñ\n"
    assert body("--body", "") == ""


def test_a_body_that_cannot_be_had_is_wrong_usage(
    notes: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*arguments: str) -> str:
        return notes.refused("create", "--title", "A", *arguments, code=2)

    assert "either --body or --body-file" in refused("--body", "x", "--body-file", "y")
    missing = tmp_path / "none"
    assert f"{missing} cannot be read: No such file" in refused("--body-file", str(missing))
    (tmp_path / "bytes").write_bytes(b"\xff")
    assert "The text is not UTF-8" in refused("--body-file", str(tmp_path / "bytes"))
    stdin = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "The text is not UTF-8" in refused("--body", "-")
    assert list(notes.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("x", "--field takes NAME=VALUE, not 'x'"),
        ("=x", "--field takes NAME=VALUE, not '=x'"),
        ("x=a: b: c", "The value of --field x is not YAML"),
        ("x=[1", "The value of --field x is not YAML"),
        ("x=[1, *a]", "The value of --field x is not YAML"),
        ("x=1\ny: 2", "The value of --field x is not one value"),
        ("title=B", "title is no extra field: give it with --title"),
        ("tags=[b]", "tags is no extra field: give it with --tag"),
    ],
)
def test_a_field_that_is_none_is_wrong_usage(notes: Shell, field: str, reason: str) -> None:
    assert reason in notes.refused("create", "--title", "A", "--field", field, code=2)
    assert reason in notes.refused("update", "a", "--title", "A", "--field", field, code=2)


def test_a_field_is_given_once(notes: Shell) -> None:
    twice = ("--field", "x=1", "--field", "x=2")
    assert "--field x is given twice" in notes.refused("create", "--title", "A", *twice, code=2)


def test_an_entrys_own_fields_are_read_as_text(notes: Shell) -> None:
    notes.ok("create", "--no-embed", "--title", "A")
    notes.ok("update", "a", "--title", "007", "--tag", "007", "--tag", "on")
    shown = notes.ok("get", "a", "--json").json
    assert (shown["title"], shown["tags"]) == ("007", ["007", "on"])


def test_an_update_changes_what_it_names(notes: Shell) -> None:
    notes.file("a.md", "---\nx: 1  # one\ntags: [a, b]\nold: gone\n---\nBody\n")
    notes.ok("index", "sync")
    ran = notes.ok(
        *("update", "a", "--title", "T", "--type", "log", "--summary", "S", "--tag", "c"),
        *("--untag", "a", "--unset", "old", "--field", "x=2"),
    )
    assert re.fullmatch(r"updated a \(revision \d+\)\n", ran.out)
    shown = notes.ok("get", "a", "--json").json
    assert (shown["title"], shown["type"], shown["summary"]) == ("T", "log", "S")
    assert (shown["tags"], shown["fields"], shown["body"]) == (["b", "c"], {"x": 2}, "Body\n")
    assert "x: 2  # one\n" in (notes.folder / "a.md").read_text()
    again = notes.ok("update", "a", "--untag", "a", "--tag", "c")
    assert again.out.startswith("unchanged a")
    assert "Say what to change" in notes.refused("update", "a", code=2)


def test_a_tag_an_editor_added_is_not_lost(notes: Shell) -> None:
    path = notes.file("a.md", "---\ntags: [one]\n---\n")
    notes.ok("index", "sync")
    path.write_text("---\ntags: [one, two]\n---\n")
    notes.ok("update", "a", "--tag", "three")
    assert notes.ok("get", "a", "--json").json["tags"] == ["one", "two", "three"]


def test_a_comma_is_part_of_a_tag(notes: Shell) -> None:
    notes.ok("create", "--title", "A", "--tag", "a,b", "--no-embed")
    assert notes.ok("get", "a", "--json").json["tags"] == ["a,b"]


def test_a_revision_guards_against_what_one_has_not_seen(notes: Shell) -> None:
    first = notes.ok("create", "--title", "A", "--json").json["revision"]
    second = notes.ok("update", "a", "--body", "b", "--if-revision", f"{first}", "--json").json
    for arguments in (("update", "a", "--body", "c"), ("delete", "a")):
        err = notes.refused(*arguments, "--if-revision", f"{first}")
        assert f"at revision {second['revision']}, not {first}" in err
    notes.ok("delete", "a", "--if-revision", f"{second['revision']}")
    assert not (notes.folder / "a.md").exists()


def test_deleting(notes: Shell) -> None:
    notes.ok("create", "--no-embed", "--title", "A")
    assert notes.ok("delete", "a").out == "deleted a\n"
    assert "no entry 'a'" in notes.refused("delete", "a")


@pytest.mark.parametrize("name", ["../x", "/x", "x.md", ".x", "a\nb", ""])
def test_an_id_that_cannot_be_is_refused(notes: Shell, name: str) -> None:
    for arguments in (
        ("create", "--title", "T", "--id", name),
        ("get", name),
        ("update", name, "--title", "T"),
        ("delete", name),
    ):
        assert "cannot be an entry's id" in notes.refused(*arguments)


def test_listing(notes: Shell) -> None:
    ran = notes.ok("list")
    assert (ran.out, "No entry is indexed that fits" in ran.err) == ("", True)
    notes.ok("create", "--no-embed", "--title", "Ä\tb", "--tag", "x", "--type", "log", "--id", "a")
    notes.ok("create", "--no-embed", "--title", "B")
    assert notes.ok("list").out == (
        "notes\ta\tÄ b\tlog\tx\tpending\nnotes\tb\tB\tnote\t\tpending\n"
    )
    notes.file("c.md", "---\ntags: [y, z]\ndate: 2031-05-02\nby: [Kim, Ann]\n---\n")
    notes.ok("index", "sync")
    for arguments, expected in (
        (("--tag", "x"), ["a"]),
        (("--type", "note"), ["b", "c"]),
        (("--type", "note", "--type", "log"), ["a", "b", "c"]),
        (("--limit", "1"), ["a"]),
        (("--limit", "1", "--offset", "1"), ["b"]),
        (("--kb", "notes", "--limit", "2"), ["a", "b"]),
        (("--tag", "y", "--tag", "z"), ["c"]),
        (("--tag", "x", "--tag", "z"), []),
        (("--since", "2031-05-01"), ["c"]),
        (("--until", "2031-05-01"), ["a", "b"]),
        (("--field", "by=Ann"), ["c"]),
        (("--field", "by=An"), []),
        (("--tag", "none"), []),
    ):
        listed = notes.ok("list", *arguments, "--json").json["entries"]
        assert [each["id"] for each in listed] == expected
        assert all("body" not in each for each in listed)
    assert "since must be a day like 2026-11-30" in notes.refused(
        *("list", "--since", "today"), code=2
    )
    assert "'tags' is not among the fields" in notes.refused(*("list", "--field", "tags=x"), code=2)
    assert "--field by is given twice" in notes.refused(
        *("list", "--field", "by=Kim", "--field", "by=Ann"), code=2
    )


# pyrite index sync


def test_syncing_says_what_it_did(notes: Shell) -> None:
    assert notes.ok("index", "sync").out == "notes: nothing there\n"
    for name in "abc":
        notes.file(f"{name}.md", name)
    assert notes.ok("index", "sync").out == "notes: 3 new\n"
    notes.file("a.md", "changed")
    (notes.folder / "b.md").rename(notes.folder / "d.md")
    (notes.folder / "c.md").unlink()
    notes.file("e.md", "e")
    ran = notes.ok("index", "sync", "--json")
    assert ran.json == {
        "kbs": [
            {
                "kb": "notes",
                "created": ["e"],
                "updated": ["a"],
                "renamed": [{"from": "b", "to": "d"}],
                "deleted": ["c"],
                "unchanged": 0,
                "problems": [],
            }
        ],
        "errors": [],
        "queued": 3,
    }
    assert notes.ok("index", "sync", "--full").out == "notes: 3 unchanged\n"


def test_files_that_cannot_be_read_are_named_and_exit_code_1(notes: Shell) -> None:
    notes.file("bad.md", "---\na: [\n---\n")
    notes.file("worse.md", b"a\n\xff")
    notes.file("good.md", "good")
    ran = notes("index", "sync")
    assert (ran.code, ran.out) == (1, "notes: 1 new, 2 skipped\n")
    lines = ran.err.splitlines()
    assert lines[0].startswith("  skipped bad.md:2: not valid YAML")
    assert lines[1].startswith("  skipped worse.md:2: the byte 0xFF is not UTF-8")
    ran = notes("index", "sync", "--json")
    assert (ran.code, ran.err) == (1, "")
    problems = ran.json["kbs"][0]["problems"]
    assert [(each["path"], each["line"]) for each in problems] == [("bad.md", 2), ("worse.md", 2)]


def test_files_that_are_gone_all_at_once_are_kept_unless_somebody_says_they_were_deleted(
    notes: Shell,
) -> None:
    notes.file("a.md", "a")
    notes.ok("index", "sync")
    (notes.folder / "a.md").unlink()
    ran = notes("index", "sync")
    assert (ran.code, ran.out) == (1, "")
    assert "'notes' is unavailable: its only file is gone" in ran.err
    assert "`pyrite index sync --kb notes --accept-deletions`" in ran.err
    assert "its only file is gone" in notes("index", "sync", "--json").json["errors"][0]
    listed = notes.ok("kb", "list")
    assert listed.out.startswith("notes\t1\t")
    assert "notes is unavailable: its only file is gone. `pyrite index sync --kb no" in listed.err
    (known,) = notes.ok("kb", "list", "--json").json["kbs"]
    assert known["unavailable"] == "its only file is gone"
    assert "is unavailable" in notes.refused("create", "--no-embed", "--title", "B")
    assert "goes with --kb" in notes.refused("index", "sync", "--accept-deletions", code=2)
    accepted = notes.ok("index", "sync", "--kb", "notes", "--accept-deletions")
    assert accepted.out == "notes: 1 deleted\n"
    notes.ok("create", "--no-embed", "--title", "B")
    notes.ok("delete", "b")
    notes.ok("index", "sync")


def test_a_folder_that_is_gone_does_not_keep_others_from_being_synced(
    notes: Shell, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    notes.ok("kb", "add", "gone", str(gone))
    gone.rmdir()
    notes.file("a.md", "a")
    ran = notes("index", "sync")
    assert (ran.code, ran.out) == (1, "notes: 1 new\n")
    assert "of the knowledge base 'gone' is not there: mount it" in ran.err
    ran = notes("index", "sync", "--json")
    assert ran.code == 1
    assert [each["kb"] for each in ran.json["kbs"]] == ["notes"]
    assert "'gone' is not there" in ran.json["errors"][0]
    assert "'gone' is not there" in notes.refused("index", "sync", "--kb", "gone")
    notes.ok("index", "sync", "--kb", "notes")


def test_syncing_nothing_says_how_to_begin(shell: Shell) -> None:
    assert "`pyrite kb add NAME FOLDER`" in shell.ok("index", "sync").err
    assert shell.ok("index", "sync", "--json").json == {"kbs": [], "errors": [], "queued": 0}


# pyrite index embed


def test_embedding_what_is_queued(notes: Shell) -> None:
    for name in "abc":
        notes.ok("create", "--no-embed", "--title", name)
    assert notes.ok("index", "embed").out == "embedded 3 entries in less than a second\n"
    assert sum(map(len, notes.encoder.calls)) == 3
    assert notes.ok("index", "embed").out == "nothing to do: 3 entries embedded, none queued\n"
    assert notes.ok("index", "embed", "--background").out.startswith("nothing to do")
    notes.encoder.calls.clear()
    assert notes.ok("index", "embed", "--force").out.startswith("embedded 3 entries")
    assert sum(map(len, notes.encoder.calls)) == 3


def test_embedding_as_json(notes: Shell) -> None:
    notes.ok("create", "--no-embed", "--title", "good")
    notes.ok("create", "--no-embed", "--title", "bad")
    notes.encoder.fail = poison("bad")
    ran = notes("index", "embed", "--json")
    assert ran.code == 1
    result = ran.json
    assert result["seconds"] >= 0
    (failure,) = result.pop("failed")
    assert {key: failure[key] for key in ("kb", "id", "error", "attempts")} == {
        "kb": "notes",
        "id": "bad",
        "error": "ValueError: bad cannot be encoded",
        "attempts": 3,
    }
    del result["seconds"]
    assert result == {"embedded": 1, "unfinished": 0, "stopped_by": None, "followed": None}


def test_failures_are_named_listed_and_retried(notes: Shell) -> None:
    for number in range(12):
        notes.ok("create", "--no-embed", "--title", f"bad {number}")
    notes.encoder.fail = poison("bad")
    ran = notes("index", "embed")
    assert (ran.code, ran.out) == (1, "")
    lines = ran.err.splitlines()
    assert lines[0] == "12 entries could not be embedded:"
    named = [line for line in lines if line.endswith(": ValueError: bad cannot be encoded")]
    assert len(named) == 10
    assert named[0].startswith("  notes/bad-")
    assert "  and 2 more: `pyrite index embed --failed`" in lines
    assert "--retry-failed" in lines[-1]

    listed = notes.ok("index", "embed", "--failed")
    assert len(listed.out.splitlines()) == 12
    row = min(listed.out.splitlines()).split("\t")
    assert (row[:3], row[4]) == (["notes", "bad-0", "3"], "ValueError: bad cannot be encoded")
    failures = notes.ok("index", "embed", "--failed", "--json").json["failures"]
    assert len(failures) == 12
    assert set(failures[0]) == {"kb", "id", "revision", "error", "attempts", "failed_at"}

    notes.encoder.fail = None
    err = notes.refused("index", "embed", "--retry-failed", "bad-1", "none")
    assert "'none' is not among the failed entries" in err
    ran = notes.ok("index", "embed", "--retry-failed", "bad-1", "bad-2", "--json")
    assert sorted(each["id"] for each in ran.json["retried"]) == ["bad-1", "bad-2"]
    assert notes("index", "embed").code == 1
    assert notes.ok("index", "embed", "--retry-failed").out.startswith("10 entries queued again")
    assert notes.ok("index", "embed").code == 0
    assert "Nothing has failed." in notes.ok("index", "embed", "--failed").err
    assert notes.ok("index", "embed", "--failed", "--json").json == {
        "failures": [],
        "more": False,
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--force", "--status"), "exclude one another"),
        (("--background", "--failed"), "exclude one another"),
        (("--failed", "--retry-failed"), "exclude one another"),
        (("a",), "IDs go with --retry-failed"),
        (("--status", "a"), "IDs go with --retry-failed"),
        (("--background", "--kb", "notes"), "drains the whole queue"),
    ],
)
def test_options_that_exclude_one_another(
    notes: Shell, arguments: tuple[str, ...], reason: str
) -> None:
    assert reason in notes.refused("index", "embed", *arguments, code=2)


def test_one_knowledge_base_may_be_embedded_alone(notes: Shell, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    notes.ok("kb", "add", "two", str(tmp_path / "two"))
    for kb in ("notes", "two"):
        notes.ok("create", "--no-embed", "--title", f"in {kb}", "--kb", kb)
    assert notes.ok("index", "embed", "--kb", "two").out.startswith("embedded 1 entry")
    counts = {kb["name"]: kb["pending"] for kb in notes.ok("kb", "list", "--json").json["kbs"]}
    assert counts == {"notes": 1, "two": 0}


def test_a_model_that_cannot_be_loaded_is_one_line(notes: Shell) -> None:
    def away() -> None:
        raise ModelError("the model cannot be loaded: it is not there")

    notes.ok("create", "--no-embed", "--title", "A")
    notes.encoder.load = away  # type: ignore[method-assign]
    for arguments in ((), ("--json",)):
        err = notes.refused("index", "embed", *arguments)
        assert err == "pyrite: the model cannot be loaded: it is not there\n"
    assert notes.ok("index", "embed", "--status", "--json").json["pending"] == 1


def test_a_bug_while_embedding_is_one(notes: Shell) -> None:
    def crash() -> None:
        raise ZeroDivisionError("by zero")

    notes.ok("create", "--no-embed", "--title", "A")
    notes.encoder.load = crash  # type: ignore[method-assign]
    ran = notes("index", "embed")
    assert (ran.code, ran.out) == (70, "")
    assert ran.err.startswith("pyrite: ZeroDivisionError: by zero\n")


def test_status_as_json(notes: Shell) -> None:
    assert notes.ok("index", "embed", "--status", "--json").json == {
        **dict.fromkeys(("pending", "processing", "done", "failed", "total"), 0),
        "coverage": 1.0,
        "oldest_pending_age_s": None,
        "last_error": None,
        "model": "fake",
        "worker": None,
        "tokens_per_s": 0.0,
        "time_left_s": None,
    }
    notes.ok("create", "--no-embed", "--title", "good")
    notes.ok("create", "--no-embed", "--title", "bad")
    notes.encoder.fail = poison("bad")
    notes("index", "embed")
    notes.ok("create", "--no-embed", "--title", "waits")
    status = notes.ok("index", "embed", "--status", "--json").json
    assert status["oldest_pending_age_s"] >= 0
    assert (status["pending"], status["done"], status["failed"], status["total"]) == (1, 1, 1, 3)
    assert status["coverage"] == pytest.approx(1 / 3, abs=1e-4)
    assert set(status["last_error"]) == {"kb", "id", "error", "at"}
    assert status["last_error"]["id"] == "bad"
    scoped = notes.ok("index", "embed", "--status", "--kb", "notes", "--json").json
    assert scoped["total"] == 3


def test_status_in_words(notes: Shell) -> None:
    notes.ok("create", "--no-embed", "--title", "bad")
    notes.encoder.fail = poison("bad")
    notes("index", "embed")
    notes.ok("create", "--no-embed", "--title", "waits")
    ran = notes.ok("index", "embed", "--status")
    assert ran.out.splitlines() == [
        "coverage    0.00% of 2 entries",
        "pending     1, the oldest for less than a second",
        "processing  0",
        "done        0",
        "failed      1",
        "last error  notes/bad: ValueError: bad cannot be encoded",
        "model       fake",
        "worker      none is running",
    ]
    assert "--failed" in ran.err


def test_the_status_shows_the_worker(notes: Shell) -> None:
    seen: list[Ran] = []

    def look(_: Sequence[str]) -> None:
        if not seen:
            seen.extend((notes("index", "embed", "--status"),))
            seen.extend((notes("index", "embed", "--status", "--json"),))

    notes.ok("create", "--no-embed", "--title", "A")
    notes.encoder.fail = look
    notes.ok("index", "embed")
    human, program = seen
    assert "processing  1" in human.out
    assert re.search(r"worker      \w+: process \d+ on .* since 20", human.out)
    assert program.json["processing"] == 1
    assert {"pid", "host", "state", "model", "heartbeat_at"} <= set(program.json["worker"])


# pyrite doctor, config, handbook


def test_the_doctor_is_content_or_exits_with_1(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrite.services.doctor.model", lambda settings: iter(()))
    ran = notes.ok("doctor")
    assert all(line.startswith("ok ") for line in ran.out.splitlines())
    notes.ok("create", "--no-embed", "--title", "A")
    ran = notes.ok("doctor")  # a warning is no error
    assert "warning  queue: 1 of 1 entries wait" in ran.out
    assert "         -> `pyrite index embed` embeds them" in ran.out
    notes.folder.rename(notes.folder.with_name("moved"))
    ran = notes("doctor", "--json")
    assert ran.code == 1
    bad = [each for each in ran.json["findings"] if each["level"] == "error"]
    assert [each["subject"] for each in bad] == ["folder of notes"]
    assert set(bad[0]) == {"level", "subject", "text", "action"}


def test_the_doctor_tells_of_a_file_of_settings_that_cannot_be_read(shell: Shell) -> None:
    shell.home.mkdir()
    (shell.home / "config.toml").write_text("threads = = 2")
    ran = shell("doctor", "--json")
    assert ran.code == 1
    *others, last = ran.json["findings"]
    assert {each["level"] for each in others} == {"ok"}
    assert (last["level"], last["subject"]) == ("error", "settings")
    assert "config.toml cannot be read: it is not TOML" in last["text"]
    assert not (shell.home / "pyrite.db").exists()


def test_the_settings_are_listed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRITE_THREADS", "3")
    ran = shell.ok("config", "list")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ran.out.splitlines()}
    assert rows["threads"][:2] == ["3", "PYRITE_THREADS"]
    assert rows["home"][:2] == [str(shell.home), "PYRITE_HOME"]
    assert str(shell.home / "config.toml") in ran.err
    listed = shell.ok("config", "list", "--json").json
    assert set(listed) == set(rows)
    assert listed["threads"] == {"value": 3, "source": "PYRITE_THREADS", "help": rows["threads"][2]}
    default = Settings(home=shell.home).lease_s
    assert listed["lease_s"]["value"] == default


def test_a_secret_is_masked_and_not_written(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRITE_TOKEN", "hunter2")
    for command in (("list",), ("list", "--json"), ("get", "token"), ("get", "token", "--json")):
        ran = shell.ok("config", *command)
        assert "hunter2" not in ran.out + ran.err
        assert "********" in ran.out
    assert "PYRITE_TOKEN=********" in shell.ok("config", "unset", "token").err
    assert "hunter" not in shell.refused("config", "set", "token", "hunter3", code=2)


def test_the_handbook_is_a_folder_of_the_product(shell: Shell) -> None:
    folder = Path(shell.ok("handbook").out.rstrip("\n"))
    assert folder.name == "handbook"
    assert (folder.parent / "cli").is_dir()


def test_the_real_encoder_is_made_without_loading_anything(tmp_path: Path) -> None:
    made = context.make_encoder(Settings(home=tmp_path, model="/no/such/model", threads=2))
    assert (made.name, made.ready) == ("/no/such/model", False)


def test_a_database_that_another_process_keeps_is_no_bug(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(notes.home / "pyrite.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.01)
        said = notes.refused("create", "--title", "Late", "--body", "x")
    assert "another process keeps the database locked (database is locked)" in said
    assert "run the command again" in said


def test_a_database_that_can_only_be_read_is_searched_and_says_so(
    notes: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "is_writable", lambda _: False)
    listed = notes("list")
    assert listed.code == 0
    assert "can only be read here" in listed.err
    refused = notes("create", "--title", "Late", "--body", "x")
    assert refused.code == 1
    assert "give whoever runs this the right to write" in refused.err


def test_the_arguments_of_a_search_are_one_query(shell: Shell) -> None:
    def asked(*arguments: str) -> object:
        return shell.ok("search", *arguments, "--mode", "keyword", "--json").json["query"]

    assert asked("how", "long", "-hidden", "-x") == "how long -hidden -x"
    assert shell.ok("search", "--json", "--mode=keyword", "--", "--dry-run").json["query"] == (
        "--dry-run"
    )
    assert "No such option" in shell.refused("search", "a", "--jsn", code=2)
    tags = [part for number in range(101) for part in ("--tag", f"t{number}")]
    assert "101 values of tag, more than 100" in shell.refused("search", "a", *tags, code=2)

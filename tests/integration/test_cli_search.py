"""Searching, related entries and the cache of embeddings, as a person and a program use them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyrite.errors import ModelError
from pyrite.storage.sqlite.store import SqliteStorage
from tests.integration.shell import Shell, poison

ROOT = Path(__file__).parents[2]


def put(shell: Shell, name: str, text: str) -> None:
    shell.file(f"{name}.md", text)


@pytest.fixture
def colours(notes: Shell) -> Shell:
    """Three embedded entries, two of them about red."""
    put(
        notes, "red", "---\ntags: [warm]\nauthor: Kim\ndate: 2031-05-02\n---\n# Red\n\nRed paint.\n"
    )
    filler = "\n\n".join(f"Nothing {n} of the matter at all, just filler." for n in range(20))
    body = f"# Mixed\n\n{filler}\n\n## Storage\n\n### Cans\n\nCans of red paint are kept here.\n"
    put(notes, "log/mixed", f"---\ntype: log\n---\n{body}")
    put(notes, "sea", "# Sea\n\nBlue water.\n")
    notes.ok("index", "sync")
    notes.ok("index", "embed")
    return notes


# pyrite search


def test_a_hit_says_what_where_and_why(colours: Shell) -> None:
    ran = colours.ok("search", "red paint", "--limit", "2")
    blocks = ran.out.split("\n\n")
    assert re.fullmatch(
        r"  1  Red\n     notes/red > Red\n     # Red Red paint\.\n"
        r"     meaning #1 \(\d\.\d{3}\), words #1 \(\d\.\d\d\)",
        blocks[0],
    )
    assert re.fullmatch(
        r"  2  Mixed\n     notes/log/mixed > Mixed > Storage > Cans\n"
        r"     .*Cans of red paint are kept here\.\n"
        r"     meaning #2 \(0\.\d{3}\), words #2 \(\d\.\d\d\)",
        blocks[1],
    )
    assert ran.err == "There is more: --offset 2\n"
    assert "\x1b" not in ran.out  # nobody looks on
    ran = colours.ok("search", "red paint", "--limit", "2", "--offset", "2")
    assert ran.out.startswith("  3  Sea\n")
    assert "There is more" not in ran.err
    assert "Nothing was found." in colours.ok("search", "red", "--offset", "3").err


def test_words_are_emphasised_on_a_terminal(
    colours: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = colours.ok("search", "kept red", "--mode", "keyword", "--type", "log").out
    out = out.replace("\x1b[1m", "<").replace("\x1b[0m", ">")
    assert "  1  <Mixed>\n" in out
    assert "Cans of <red> paint are <kept> here." in " ".join(out.split())


def test_by_words_no_model_is_asked(colours: Shell) -> None:
    def away(*_: object) -> None:
        raise ModelError("the model cannot be loaded: it is not there")

    colours.encoder.fingerprint = colours.encoder.encode_query = away  # type: ignore
    ran = colours.ok("search", "paint", "--mode", "keyword")
    assert re.findall(r"^ +\d  (.*)$", ran.out, re.MULTILINE) == ["Red", "Mixed"]
    assert "meaning" not in ran.out
    assert ran.err == ""
    ran = colours.ok("search", "paint")
    assert "Note: searched by words alone: the model cannot be loaded: it is not" in ran.err
    assert re.findall(r"^ +\d  (.*)$", ran.out, re.MULTILINE) == ["Red", "Mixed"]
    err = colours("search", "paint", "--mode", "semantic").err
    assert "pyrite: the model cannot be loaded: it is not there\n" in err
    assert colours("search", "paint", "--mode", "semantic", "--json").code == 1


def test_by_meaning_alone(colours: Shell) -> None:
    out = colours.ok("search", "red paint", "--mode", "semantic").out
    assert re.findall(r"^ +\d  (.*)$", out, re.MULTILINE) == ["Red", "Mixed", "Sea"]
    assert "words" not in out


def test_a_hit_that_is_not_what_was_embedded_says_so(colours: Shell) -> None:
    colours.ok("create", "--no-embed", "--title", "Zebra", "--body", "A zebra.")
    ran = colours.ok("search", "zebra", "--limit", "1")
    assert "     notes/zebra  (not embedded yet)\n     A zebra.\n     words #1 (" in ran.out
    assert "Still to be embedded: 1 entry, the oldest for less" in ran.err
    colours.ok("update", "--no-embed", "red", "--body", "Green paint.")
    ran = colours.ok("search", "green", "--limit", "1")
    assert "notes/red" in ran.out
    assert "  (changed since it was embedded)\n     Green paint.\n" in ran.out
    assert "Still to be embedded: 2 entries" in ran.err
    assert "Still to be embedded" not in colours.ok("search", "zebra", "--mode", "keyword").err


def test_searching_an_empty_base(notes: Shell) -> None:
    for mode in ("hybrid", "semantic", "keyword"):
        ran = notes.ok("search", "anything", "--mode", mode)
        assert (ran.out, ran.err) == ("", "Nothing was found.\n")
    assert notes.encoder.queries == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--type", "log"), ["log/mixed"]),
        (("--type", "log", "--type", "note"), ["red", "log/mixed", "sea"]),
        (("--tag", "warm"), ["red"]),
        (("--tag", "warm", "--tag", "cold"), []),
        (("--field", "author=Kim"), ["red"]),
        (("--since", "2031-05-02", "--until", "2031-05-02"), ["red"]),
        (("--until", "2031-05-01"), ["log/mixed", "sea"]),
        (("--kb", "notes", "--limit", "1"), ["red"]),
    ],
)
def test_a_search_may_be_confined(
    colours: Shell, arguments: tuple[str, ...], expected: list[str]
) -> None:
    hits = colours.ok("search", "red paint", *arguments, "--json").json["hits"]
    assert [hit["id"] for hit in hits] == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("",), "the query is empty"),
        ((" \n",), "the query is empty"),
        (("x" * 10_001,), "more than 10,000"),
        (("\udcff",), "the query is not valid text"),
        (("x", "--tag", "\udcff"), "is not valid text"),
        (("x", "--since", "today"), "since must be a day like 2026-11-30, not 'today'"),
        (("x", "--since", ""), "since must be a day like 2026-11-30, not ''"),
        (("x", "--until", "2026-02-30"), "until must be a day"),
        (("x", "--field", "title=x"), "'title' is not among the fields to filter by"),
        (("x", "--limit", "1000", "--offset", "1"), "the offset must be from 0 to 0"),
        (("x", "--timeout", "nan"), "the time-out must be"),
        (("x", "--since", "2026-03-01", "--until", "2026-02-28"), "no day lies between"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage_in_one_line(
    notes: Shell, arguments: tuple[str, ...], reason: str
) -> None:
    for form in ((), ("--json",)):
        said = notes.refused("search", *arguments, *form, code=2)
        assert re.fullmatch(r"pyrite: [^\n]+\n", said)
        assert reason in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("x", "--kb", "none"), "there is no knowledge base 'none'"),
        (("x", "--wait-for", "99"), "there is no revision 99; the latest is 0"),
        (("x", "--wait-for", "9" * 30), f"there is no revision {'9' * 30}"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    notes: Shell, arguments: tuple[str, ...], reason: str
) -> None:
    for form in ((), ("--json",)):
        assert reason in notes.refused("search", *arguments, *form)


def test_waiting_for_a_write(colours: Shell) -> None:
    revision = colours.ok("create", "--no-embed", "--title", "Zebra", "--json").json["revision"]
    wait = ("search", "zebra", "--wait-for", str(revision))
    ran = colours.ok(*wait, "--timeout", "0")
    assert f"Note: revision {revision} is still queued after less than a second; " in ran.err
    waited = colours.ok(*wait, "--timeout", "0", "--json").json["waited"]
    assert waited == {"revision": revision, "outcome": "timed_out", "seconds": waited["seconds"]}
    colours.ok("index", "embed")
    ran = colours.ok(*wait)
    assert f"revision {revision}" not in ran.err
    assert colours.ok(*wait, "--json").json["waited"]["outcome"] == "embedded"
    colours.ok("update", "--no-embed", "zebra", "--body", "poison")
    ran = colours.ok(*wait)
    assert f"Note: revision {revision} is no longer the present one: its entry was" in ran.err
    colours.encoder.fail = poison("poison")
    colours("index", "embed")
    ran = colours.ok("search", "zebra", "--wait-for", str(revision + 1))
    assert f"Note: revision {revision + 1} could not be embedded; `pyrite index embed" in ran.err
    assert "Could not be embedded: 1 entry; see `pyrite index embed --failed`" in ran.err


def test_an_answer_as_json(colours: Shell) -> None:
    colours.encoder.fail = poison("bad")
    colours.ok("create", "--no-embed", "--title", "bad")
    colours("index", "embed")
    ran = colours.ok("search", "cans of red paint", "--json", "--limit", "1")
    result = ran.json
    assert ran.err == ""
    (hit,) = result.pop("hits")
    assert result == {
        "query": "cans of red paint",
        "mode": "hybrid",
        "more": True,
        "freshness": {"pending": 0, "failed": 1, "oldest_pending_age_s": None},
        "waited": None,
        "warning": None,
        "hints": [],
        "partial": False,
        "corrected": None,
    }
    passage, scores = hit.pop("passage"), hit.pop("scores")
    assert 0 < hit.pop("score") < 1
    assert hit.pop("revision") > 0
    assert hit == {
        "kb": "notes",
        "id": "log/mixed",
        "title": "Mixed",
        "type": "log",
        "tags": [],
        "freshness": "fresh",
    }
    assert set(scores) == {"keyword", "keyword_rank", "semantic", "semantic_rank"}
    assert (scores["keyword_rank"], scores["semantic_rank"]) == (1, 2)
    assert set(passage) == {"headings", "start", "end", "text", "highlights"}
    assert passage["headings"] == ["Mixed", "Storage", "Cans"]
    marked = [passage["text"][start:end] for start, end in passage["highlights"]]
    assert marked == ["Cans", "Cans", "red", "paint"]
    body = colours.ok("get", "log/mixed", "--json").json["body"]
    assert "Cans of red paint" in body[passage["start"] : passage["end"]]


# pyrite related


def test_related_entries(colours: Shell, tmp_path: Path) -> None:
    for call in ("encode", "encode_query", "tokenizer", "load"):
        setattr(colours.encoder, call, None)  # no model is needed
    ran = colours.ok("related", "red")
    assert re.findall(r"^ +\d  (.*)$", ran.out, re.MULTILINE) == ["Mixed", "Sea"]
    assert re.search(
        r"  1  Mixed\n     notes/log/mixed > Mixed > Storage > Cans\n     .*red paint.*\n"
        r"     meaning 0\.\d{3}\n",
        ran.out,
    )
    assert ran.err == ""
    result = colours.ok("related", "red", "--json", "--limit", "1").json
    (hit,) = result.pop("hits")
    assert result == {
        "kb": "notes",
        "id": "red",
        "embedded": "fresh",
        "freshness": {"pending": 0, "failed": 0, "oldest_pending_age_s": None},
    }
    assert set(hit) == {"kb", "id", "title", "score", "passage", "freshness"}
    assert (hit["id"], hit["freshness"]) == ("log/mixed", "fresh")
    assert "Nothing was found." in colours.ok("related", "red", "--type", "none").err
    colours.ok("create", "--no-embed", "--title", "New")
    ran = colours.ok("related", "new")
    assert ran.out == ""
    assert "new is not embedded yet: `pyrite index embed` embeds it." in ran.err
    assert "no entry 'none'" in colours.refused("related", "none")
    assert "since must be" in colours.refused("related", "red", "--since", "x", code=2)
    (tmp_path / "two").mkdir()
    colours.ok("kb", "add", "two", str(tmp_path / "two"))
    assert "Say which knowledge base" in colours.refused("related", "red", code=2)
    assert colours.ok("related", "red", "--of", "notes", "--kb", "two", "--json").json["hits"] == []
    assert len(colours.ok("related", "red", "--of", "notes", "--json").json["hits"]) == 2
    assert "no knowledge base 'none'" in colours.refused("related", "red", "--of", "none")
    assert "no knowledge base 'none'" in colours.refused("related", "red", "--kb", "none")


# pyrite index cache


def test_embeddings_are_carried_to_another_home(
    colours: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "embeddings.db"
    count = len(colours.encoder.encoded)
    ran = colours.ok("index", "cache", "export", str(file))
    assert ran.out == f"wrote {count} embeddings of 1 model to {file}\n"
    assert colours.ok("index", "cache", "export", str(file), "--json").json == {
        "file": str(file),
        "models": 1,
        "embeddings": count,
    }
    monkeypatch.setenv("PYRITE_HOME", str(tmp_path / "another"))
    ran = colours.ok("index", "cache", "import", str(file))
    assert ran.out == f"read {count} embeddings, {count} of them new\n"
    assert colours.ok("index", "cache", "import", str(file), "--json").json == {
        "file": str(file),
        "models": 1,
        "embeddings": count,
        "added": 0,
    }
    colours.encoder.calls.clear()
    colours.ok("kb", "add", "notes", str(colours.folder))
    colours.ok("index", "sync")
    assert colours.ok("index", "embed").out.startswith("embedded 3 entries")
    assert colours.encoder.calls == []
    colours.ok("index", "embed", "--force")
    assert len(colours.encoder.encoded) == count


def test_what_is_no_file_of_embeddings_is_refused(colours: Shell, tmp_path: Path) -> None:
    letter = colours.file("letter.md", "text")
    for verb in ("export", "import"):
        err = colours.refused("index", "cache", verb, str(letter))
        assert f"{letter} is not a file of embeddings" in err
    assert letter.read_text() == "text"
    missing = tmp_path / "none" / "x.db"
    assert "there is no file" in colours.refused("index", "cache", "import", str(missing))
    assert "cannot be written: No such" in colours.refused("index", "cache", "export", str(missing))


def test_unused_embeddings_are_deleted(colours: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    prune = ("index", "cache", "prune")
    assert colours.ok(*prune, "--all").out == "deleted 0 unused embeddings\n"
    colours.ok("delete", "sea")
    assert colours.ok(*prune).out == "deleted 0 unused embeddings\n"
    assert colours.ok(*prune, "--all").out == "deleted 1 unused embedding\n"
    assert colours.ok(*prune, "--all", "--json").json == {"deleted": 0}
    colours.ok("delete", "red")
    monkeypatch.setenv("PYRITE_UNUSED_DAYS", "0")
    assert colours.ok(*prune, "--json").json == {"deleted": 1}


# What a command may cost

HEAVY = (
    *("numpy", "torch", "tokenizers", "usearch", "sentence_transformers", "openvino"),
    *("trio", "quart", "hypercorn", "mcp", "pydantic", "httpx"),
)
SEEN = """
import sys
from pyrite.cli.main import run
code = run(sys.argv[1:])
heavy = [name for name in {heavy!r} + ("rich", "semantic_text_splitter") if name in sys.modules]
print(code, *heavy, file=sys.stderr)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("search", "--help"),
        ("index", "cache", "--help"),
        ("index", "embed", "--status"),
        ("search", "red paint", "--mode", "keyword"),
        ("search", "red", "--mode", "keyword", "--json", "--tag", "warm", "--limit", "3"),
        ("list", "--since", "2031-01-01"),
        ("index", "cache", "prune"),
        ("create", "--title", "New", "--body", "Text", "--no-embed"),
        ("update", "red", "--body", "Text", "--no-embed"),
        ("delete", "red"),
        ("get", "red"),
        ("kb", "list"),
        ("mcp", "--help"),
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(colours: Shell, arguments: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SEEN.format(heavy=HEAVY), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.splitlines()[-1] == "0"
    assert ran.stdout


def test_what_is_only_to_be_encoded_again_is_found_and_not_called_unsearched(
    colours: Shell,
) -> None:
    SqliteStorage(colours.home / "pyrite.db").reembed(None, now=0.0, force=True, other_than=None)
    ran = colours.ok("search", "red", "--limit", "1")
    assert "meaning #1" in ran.out
    assert "(not embedded yet)" not in ran.out
    assert "Still to be embedded: 3 entries" in ran.err
    assert "not searched" not in ran.err.lower()

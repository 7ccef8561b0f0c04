"""The handbook and the README, held to the code: links, settings, commands, command lines."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from inspect import cleandoc
from pathlib import Path

import click
import pytest

import pyrite
from pyrite.cli.main import cli
from pyrite.config import loading
from pyrite.config.loading import PREFIX
from pyrite.config.settings import Settings
from pyrite.markdown import document
from pyrite.markdown.entry import Entry
from pyrite.markdown.links import Kind, links_of
from pyrite.vault.scan import scan

HANDBOOK = Path(pyrite.__file__).parent / "handbook"
ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

SCAN = scan(HANDBOOK)
ENTRIES = {
    found.id: document.read((HANDBOOK / found.path).read_bytes(), found.id) for found in SCAN.found
}
TYPES = {"tutorial", "howto", "concept", "reference", "design"}

PICTURE = re.compile(r"!\[[^\]\[]+\]\(([^)\s]+\.svg)\)")
MARKDOWN_LINK = re.compile(r"\[[^\]\[]+\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_LINE = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?pyrite(?: .*)?")
OPTION = re.compile(r"`(-{1,2}[a-z][a-z-]*)[^`]*`")

each_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())


def links(entry: Entry) -> set[str]:
    return {link.target for link in links_of(entry.body) if link.kind is Kind.WIKI}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        entry_id = todo.pop()
        if entry_id not in seen:
            seen.add(entry_id)
            todo.extend(links(ENTRIES[entry_id]) & ENTRIES.keys())
    return seen


# The entries


def test_every_file_is_an_entry() -> None:
    assert SCAN.problems == []
    assert len(ENTRIES) >= 25
    others = {p for p in HANDBOOK.rglob("*") if p.is_file() and p.suffix != ".md"}
    shown = {
        (HANDBOOK / entry.id).parent / picture
        for entry in ENTRIES.values()
        for picture in PICTURE.findall(entry.body)
    }
    assert others == shown


@each_entry
def test_has_its_front_matter(entry: Entry) -> None:
    raw = (HANDBOOK / f"{entry.id}.md").read_text(encoding="utf-8")
    for name in ("title", "type", "summary", "tags"):
        assert re.search(rf"^{name}: \S", raw, re.MULTILINE), name
    assert entry.type in TYPES
    assert entry.summary.endswith(".")
    assert "\n" not in entry.summary
    assert entry.tags
    assert entry.fields == {}


@each_entry
def test_says_something(entry: Entry) -> None:
    assert len(entry.body.split()) >= 80


def test_titles_are_distinct() -> None:
    assert len({entry.title for entry in ENTRIES.values()}) == len(ENTRIES)


@each_entry
def test_every_link_resolves(entry: Entry) -> None:
    assert links(entry) <= ENTRIES.keys()
    assert entry.id not in links(entry)


def test_every_entry_is_reachable_from_the_index() -> None:
    assert reachable("index") == ENTRIES.keys()
    assert reachable("start/what-is-pyrite") == ENTRIES.keys()


def test_every_entry_is_linked_to_by_more_than_the_index() -> None:
    others = [links(entry) for entry in ENTRIES.values() if entry.id != "index"]
    assert set().union(*others) == ENTRIES.keys()


def test_the_readmes_links_lead_to_files() -> None:
    targets = MARKDOWN_LINK.findall(README.read_text(encoding="utf-8"))
    assert len(targets) > 5
    missing = [t for t in targets if "://" not in t and not (ROOT / t.partition("#")[0]).is_file()]
    assert missing == []


# Settings


def setting_rows() -> dict[str, list[str]]:
    """The cells of the settings' table, without backquotes, by the setting's name."""
    rows = {}
    for line in ENTRIES["reference/settings"].body.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[cells[0].strip("`")] = [cell.strip("`") for cell in cells[1:]]
    return rows


def test_every_setting_is_in_the_reference() -> None:
    assert list(setting_rows()) == [field.name for field in fields(Settings)]


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_the_reference_agrees_with_the_setting(name: str) -> None:
    spec = next(field for field in fields(Settings) if field.name == name)
    variable, kind, default, minimum, meaning = setting_rows()[name]
    assert variable == PREFIX + name.upper()
    assert meaning
    if spec.default is MISSING:
        assert name == "home"
        return
    assert default == json.dumps(spec.default)
    kinds = {
        str: {"text"},
        bool: {"true or false"},
        int: {"whole number"},
        float: {"seconds", "days", "number"},
    }
    assert kind in kinds[type(spec.default)]
    least = spec.metadata["minimum"]
    assert minimum == ("" if least is None else json.dumps(least))


def test_no_page_names_an_unknown_variable() -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for text in (README.read_text(encoding="utf-8"), *(entry.body for entry in ENTRIES.values())):
        assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) - {PREFIX} <= known


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    blocks = BLOCK.findall(ENTRIES["reference/settings"].body)
    (example,) = (text for language, text in blocks if language == "toml")
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    settings = loading.load({"PYRITE_HOME": str(tmp_path)})
    for name, value in tomllib.loads(example).items():
        assert getattr(settings, name) == value


# Commands


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and group by what one types for it."""
    todo: list[tuple[str, click.Command]] = [("pyrite", cli)]
    while todo:
        path, command = todo.pop()
        yield path, command
        if isinstance(command, click.Group):
            todo += [(f"{path} {name}", sub) for name, sub in command.commands.items()]


COMMANDS = dict(commands())
GROUPS = {path for path, command in COMMANDS.items() if isinstance(command, click.Group)}
each_command = pytest.mark.parametrize("path", sorted(COMMANDS))


def command_sections() -> dict[str, str]:
    parts = re.split(r"^## `(.*)`$", ENTRIES["reference/commands"].body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_in_the_reference_and_no_other() -> None:
    assert set(command_sections()) == COMMANDS.keys()


@each_command
def test_every_option_is_in_the_reference_and_no_other(path: str) -> None:
    options = {o for p in COMMANDS[path].params if isinstance(p, click.Option) for o in p.opts}
    if path == "pyrite":
        options |= {"-h", "--help"}
    items = [line for line in command_sections()[path].splitlines() if line.startswith("- ")]
    documented = {name for line in items for name in OPTION.findall(line.partition(": ")[0])}
    assert documented == options


@each_command
def test_every_command_and_option_has_help(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    lacking = [
        param.opts[0]
        for param in command.params
        if isinstance(param, click.Option) and not param.help
    ]
    assert lacking == []


@each_command
def test_every_leaf_command_has_an_example(path: str) -> None:
    command = COMMANDS[path]
    if path in GROUPS and path != "pyrite":
        return
    text = cleandoc(command.help or "")
    assert re.search(r"^Examples?:$", text, re.MULTILINE)
    lines = [line.strip() for line in text.partition("Example")[2].splitlines()]
    # A column beside an example says what it does.
    examples = [re.split(r" {3,}", line)[0] for line in lines if COMMAND_LINE.fullmatch(line)]
    assert any(path in example for example in examples)
    for example in examples:
        parse(example)


# Command lines


def command_lines(text: str) -> Iterator[str]:
    """What the fenced blocks show being typed: after a prompt, or in a block of shell."""
    for language, block in BLOCK.findall(text):
        for line in block.splitlines():
            typed = line.removeprefix("$ ")
            prompted = typed != line
            if (prompted or language == "sh") and COMMAND_LINE.match(typed):
                yield typed


def parse(line: str) -> None:
    """Resolve a line's pyrite commands and their options, without running any.

    Raises:
        click.UsageError: one of them would be refused.
    """
    nested = re.findall(r"\$\(([^)]*)\)", line)
    words = shlex.shlex(re.sub(r"\$\([^)]*\)", "X", line), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    simple: list[list[str]] = [[]]
    for word in words:
        if re.fullmatch(r"[|&;<>]+", word):
            simple.append([])
        else:
            simple[-1].append(word)
    for typed in simple:
        arguments = [w for w in typed if not re.fullmatch(r"[A-Z_]+=.*", w)]
        if arguments and Path(arguments[0]).name == "pyrite":
            resolve(arguments[1:])
    for inner in nested:
        parse(inner)


def resolve(arguments: list[str]) -> None:
    command: click.Command = cli
    context = click.Context(cli, info_name="pyrite", **cli.context_settings)
    while isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(list(arguments))
        if not rest:
            return
        name, found, arguments = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    try:
        command.make_context(context.info_name, list(arguments), parent=context.parent)
    except click.exceptions.Exit:
        assert {"-h", "--help"} & set(arguments)


DOCUMENTS = {"README": README.read_text(encoding="utf-8")} | {
    entry_id: entry.body for entry_id, entry in ENTRIES.items()
}
LINES = [(name, line) for name, text in DOCUMENTS.items() for line in command_lines(text)]


def test_there_are_command_lines_to_parse() -> None:
    assert len(LINES) > 60


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name}: {line}" for name, line in LINES])
def test_every_command_line_parses(name: str, line: str) -> None:
    parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "pyrite frobnicate",
        "pyrite index embed --nope",
        "pyrite search",
        "pyrite search x --limit 0",
        'pyrite kb add handbook "$(pyrite nonsense)"',
        "pyrite list | pyrite get",
    ],
)
def test_a_wrong_command_line_is_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_every_inline_command_exists() -> None:
    for text in DOCUMENTS.values():
        for line in re.findall(r"`(pyrite [a-z][^`]*)`", BLOCK.sub("", text)):
            words = line.split()
            named = " ".join(words[:3]) if " ".join(words[:2]) in GROUPS else " ".join(words[:2])
            assert named in COMMANDS, line

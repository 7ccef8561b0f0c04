"""Tags in the text of an Obsidian note, and the folder of a vault's templates; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pyrite.markdown import document
from pyrite.markdown.blocks import running_text
from pyrite.markdown.entry import tags_of
from pyrite.markdown.frontmatter import parse, split
from pyrite.markdown.links import CodeSpans

#: A vault has its settings in this folder.
SETTINGS = ".obsidian"

#: Where plugins say which folder holds templates: the settings' file, and the name in it.
TEMPLATE_SETTINGS = (
    ("templates.json", "folder"),
    ("plugins/templater-obsidian/data.json", "templates_folder"),
)

# A tag ends at white space and at all punctuation but "-", "_" and "/"; these ranges and signs
# are those that Obsidian leaves out.
_TAG = r"[^\u2000-\u206f\u2e00-\u2e7f'!\"#$%&()*+,.:;<=>?@^`{|}~\[\]\\\s]"
_MARK = re.compile(
    rf"(?P<ticks>`+)|(?P<comment><!--|%%)|\[\[[^\[\]\r\n]*+\]\]|(?:(?<=\s)|\A)\#(?P<tag>{_TAG}++)"
)
_ENDS = {"<!--": "-->", "%%": "%%"}


def inline_tags(body: str) -> tuple[str, ...]:
    """The `#tags` in a body, each once, not those in code and comments; `#1` is a number."""
    if "#" not in body:
        return ()
    return _distinct(tag for _, text in running_text(body) for tag in _scan(text))


def _scan(text: str) -> Iterator[str]:
    spans = CodeSpans(text)
    at, unclosed = 0, set[str]()
    while mark := _MARK.search(text, at):
        at = mark.end()
        if mark["ticks"]:
            at = spans.end(mark.start(), mark.end())
        elif (opened := mark["comment"]) and opened not in unclosed:
            end = text.find(_ENDS[opened], at)
            if end < 0:
                unclosed.add(opened)
            else:
                at = end + len(_ENDS[opened])
        elif mark["tag"] and (tag := mark["tag"].strip("/")) and not tag.isdigit():
            yield tag


def _distinct(tags: Iterator[str] | list[str]) -> tuple[str, ...]:
    """Each tag once, whatever its case, as it is spelled first."""
    spelled: dict[str, str] = {}
    for tag in tags:
        spelled.setdefault(tag.casefold(), tag)
    return tuple(spelled.values())


def with_tags(raw: bytes) -> bytes:
    """A note's bytes with the tags of its text added to those of its front matter.

    The body stays as it is, byte for byte, and so does what else the front matter says.

    Raises:
        DocumentError: the bytes are not UTF-8 text.
        FrontMatterError: the front matter cannot be read.
        InvalidEntryError: a tag cannot be written.
    """
    body = document.read(raw, "note").body
    mapping = parse(split(raw.decode()).front, first_line=2)
    present = [*tags_of(mapping.get("tags")), *tags_of(mapping.get("tag"))]
    wanted = _distinct([*present, *inline_tags(body)])
    if len(wanted) == len(tags_of(mapping.get("tags"))):
        return raw
    return document.update(raw, changes={"tags": wanted})


def template_folder(settings: str, name: str) -> str | None:
    """The folder that a plugin's settings, as JSON, name for templates; None if they do not."""
    try:
        value = json.loads(settings).get(name)
    except (ValueError, AttributeError, RecursionError):
        return None
    folder = value.strip("/ ") if isinstance(value, str) else ""
    return folder or None

"""The links of a Markdown body to other entries, as they are written; pure.

Four forms count: `[[wikilinks]]`, with a heading, a block, a shown text and a folder if there are;
`![[embeds]]`; Markdown links to files of the knowledge base, `[text](../other.md)`; and the
definitions that such links may refer to, `[name]: ../other.md`. Nothing counts that is code, in
an HTML comment or block, or escaped with a backslash.

CommonMark's blocks are read by markdown-it, with what is inside them left unread; that is
scanned here in one pass, so the time grows with the length of the text and no faster, whoever
wrote it. A text in which nothing looks like a link, or nothing like code, is not parsed at all.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from pyrite.markdown.blocks import LINE_END, running_text
from pyrite.markdown.ids import ENDINGS, MAX_ID_BYTES, is_entry_file


class Kind(StrEnum):
    """How a link is written."""

    WIKI = "wiki"
    EMBED = "embed"
    #: To a file, by a path that begins at the linking entry's folder, or at the root with "/".
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it is written."""

    kind: Kind
    #: What it names: an id, its end, a title, or for Markdown a path. Never empty.
    target: str
    #: The heading or, after "^", the block of the target; empty for the whole.
    fragment: str
    #: The text to be read instead of the target; empty for none.
    shown: str
    #: Line of the body, counted from 1.
    line: int


_ENDING = re.compile(r"\.(?:md|markdown)\b", re.IGNORECASE)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")

#: What else a vault may hold; a link to such a file is none to an entry. Not every ending can
#: count: `[[Node.js]]` is a note.
_ATTACHMENT = re.compile(
    r"""\.(?:avif|bmp|gif|jpe?g|png|svg|tiff?|webp|3gp|flac|m4a|mp3|ogg|opus|wav|aac|mkv|mov|mp4
    |ogv|webm|avi|pdf|docx?|xlsx?|pptx?|odt|ods|odp|epub|zip|gz|csv|canvas|base|excalidraw)""",
    re.IGNORECASE | re.VERBOSE,
)
_WEB = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

# A destination may hold a few pairs of parentheses. More would let a hostile text be read again
# and again; and no file's path is longer than this, however it is escaped.
_DESTINATION = r"""(?:<(?P<bracketed{0}>[^<>\n\r]*+)>
    |(?P<bare{0}>[^\s()<>]*+(?:\([^\s()<>]*+\)[^\s()<>]*+){{0,4}}+))"""

#: What a scan stops at; whatever stands between is plain text.
_MARK = re.compile(
    rf"""
    (?P<escape>\\[!-/:-@\[-`{{-~])
  | (?P<ticks>`+)
  | (?P<comment><!--)
  | (?P<bang>!?)\[\[(?P<wiki>[^\[\]\r\n]++)\]\]
  | (?P<definition>^[ ]{{0,3}}\[(?:[^\[\]\\\r\n]|\\.)++\]:[ \t]*+{_DESTINATION.format(1)})
  | (?P<opening>!?\[)
  | (?P<inline>\]\([ \t]*+{_DESTINATION.format(2)}(?:[ \t\r\n]++[^()\r\n]*+)?\))
  | (?P<closing>\])
    """,
    re.VERBOSE | re.MULTILINE,
)
_TICKS = re.compile("`+")
#: What code and HTML cannot do without. A text that has none of it is all running text, and need
#: not be parsed, which takes about 40 microseconds a line.
_BLOCKS_MATTER = re.compile(r"[`\t]|~~~| {4}|<[a-zA-Z/!?]")
_WIKI = re.compile(r"\[\[[^\[\]\r\n]++\]\]")
_PATH = re.compile(rf"\][(:][ \t]*+{_DESTINATION.format(1)}", re.VERBOSE)
_MAX_DESTINATION = 3 * MAX_ID_BYTES


def links_of(body: str) -> tuple[Link, ...]:
    """The links of a body, in the order of its text; those within the entry itself are none."""
    if not _may_link(body):
        return ()
    if not _BLOCKS_MATTER.search(body):
        return tuple(_scan(body, 1))
    return tuple(link for line, text in running_text(body) for link in _scan(text, line + 1))


def _may_link(body: str) -> bool:
    """Whether anything in it looks like a link."""
    if "[[" in body and _WIKI.search(body):
        return True
    if not (("](" in body or "]:" in body) and _ENDING.search(body)):
        return False
    return any(_file_link(m["bracketed1"], m["bare1"], 0) for m in _PATH.finditer(body))


def _scan(text: str, first_line: int) -> Iterator[Link]:
    """The links of some lines of running text."""
    spans = CodeSpans(text)
    breaks = [found.end() for found in LINE_END.finditer(text)]
    openings: list[str] = []
    at, comments_end = 0, True
    while mark := _MARK.search(text, at):
        at = mark.end()
        line = first_line + bisect_right(breaks, mark.start())
        if mark["ticks"]:
            at = spans.end(mark.start(), mark.end())
        elif mark["comment"] and comments_end:
            end = text.find("-->", at)
            at, comments_end = (end + 3, True) if end >= 0 else (at, False)
        elif mark["wiki"]:
            if link := _wikilink(mark["wiki"], line, embeds=bool(mark["bang"])):
                yield link
        elif mark["definition"]:
            if link := _file_link(mark["bracketed1"], mark["bare1"], line):
                yield link
        elif mark["opening"]:
            openings.append(mark["opening"])
        elif mark["inline"] and openings:
            embeds = openings.pop() != "["
            if link := _file_link(mark["bracketed2"], mark["bare2"], line, embeds=embeds):
                yield link
        elif mark["closing"] and openings:
            openings.pop()


class CodeSpans:
    """Where code spans end: at the next run of as many backticks. Positions must only grow."""

    def __init__(self, text: str) -> None:
        self._runs: dict[int, list[int]] = {}
        for run in _TICKS.finditer(text):
            self._runs.setdefault(run.end() - run.start(), []).append(run.start())

    def end(self, start: int, end: int) -> int:
        """Where a span ends that the backticks in a range open; their own end if none does."""
        width = end - start
        runs = self._runs.get(width, [])
        following = bisect_right(runs, start)
        return runs[following] + width if following < len(runs) else end


def _wikilink(inside: str, line: int, *, embeds: bool) -> Link | None:
    # In a table the bar has to be escaped.
    named, _, shown = inside.partition("|")
    target, _, fragment = named.removesuffix("\\").partition("#")
    target = target.strip()
    if not target or _WEB.match(target) or _ATTACHMENT.fullmatch(target, target.rfind(".")):
        return None
    kind = Kind.EMBED if embeds else Kind.WIKI
    return Link(kind, target, fragment.strip(), shown.strip(), line)


def _file_link(
    bracketed: str | None, bare: str | None, line: int, *, embeds: bool = False
) -> Link | None:
    destination = (bracketed if bracketed is not None else bare) or ""
    if len(destination) > _MAX_DESTINATION or _SCHEME.match(destination):
        return None
    path, _, fragment = destination.partition("#")
    target = unquote(path.partition("?")[0])
    if embeds or not is_entry_file(target) or target.rpartition("/")[2].lower() in ENDINGS:
        return None
    return Link(Kind.MARKDOWN, target, unquote(fragment), "", line)

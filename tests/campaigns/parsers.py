"""The campaign of parsers: texts made of what parsers trip over, repeated or not.

Each input goes to one function that reads a person's text. It may raise the errors that it says
it raises, and no others, and its time is bounded by a line in the input's length: what one input
takes in more is measured again, so that a busy machine is not taken for a slow parser.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pyrite.errors import PyriteError
from pyrite.markdown import document
from pyrite.markdown.frontmatter import DocumentError
from pyrite.markdown.ids import check_id, slug
from pyrite.markdown.links import links_of
from pyrite.markdown.outline import outline
from pyrite.search import query
from tests.campaigns.campaign import BrokenPromiseError, Campaign

#: The bound of an input's time on the processor, in seconds: this, and so much for each byte.
CONSTANT_S, PER_BYTE_S = 0.05, 20e-6

#: One input in so many is long; the others are some dozens of pieces.
LONG_ONE_IN = 400
LONG = 40_000

PIECES = (
    *("\n", "\n\n", " ", "    ", "\t", "\r\n", "\r", "\x00", "\x85", "\u2028", "\ufeff", "\xa0"),
    *(
        "---\n",
        "---",
        "...\n",
        "+++\n",
        "title: ",
        "tags: [",
        "- ",
        "key: ",
        "? ",
        ": ",
        "&a ",
        "*a ",
    ),
    *(
        "|\n",
        ">-\n",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        "!!binary ",
        "!",
        "%YAML 1.2\n",
        "<<: *a\n",
    ),
    *(
        "# ",
        "#",
        " #",
        "###### ",
        "===\n",
        "> ",
        "* ",
        "1. ",
        "```",
        "~~~",
        "`",
        "``",
        "$$",
        "|",
        "|-|",
    ),
    *("[[", "]]", "![[", "](", "![", "[^1]", "[^1]: ", "<", ">", "<!--", "-->", "<a href=", "</a>"),
    *(
        "http://",
        "a@b.c",
        "%20",
        "%",
        "&amp;",
        "&#",
        "\\",
        "*",
        "**",
        "_",
        "~~",
        "#tag",
        "#a/b",
        "^id",
    ),
    *(
        "AND ",
        "OR ",
        "NOT ",
        "-",
        "(",
        ")",
        "NEAR(",
        "title:",
        "tag:",
        "*",
        "before:",
        '"a b"',
        "/",
    ),
    *("../", "./", "~", "con", ".md", ".pyrite-", "a" * 60, "0", "2026-01-01", "1e400", "0o17"),
    *(
        "é",
        "e\u0301",
        "\u0301" * 8,
        "ﬁ",
        "İ",
        "ß",
        "日本語",
        "한국어",
        "ไทย",
        "🙂",
        "\u202e",
        "\u200d",
    ),
    *("\ud7ff", "\U0010ffff", "word", "words and more words. ", "\uff41", "Ⅷ", "\u0345", "\ufdfa"),
)


def text_of(chance: random.Random) -> str:
    """A text: a few pieces, of which one run may be repeated very often."""
    pieces = chance.choices(PIECES, k=chance.randint(1, 24))
    if chance.randrange(4):
        return "".join(pieces)
    start = chance.randrange(len(pieces))
    run = "".join(pieces[start : start + chance.randint(1, 3)])
    most = LONG if not chance.randrange(LONG_ONE_IN // 4) else 400
    return "".join(pieces[:start]) + run * (most // len(run)) + "".join(pieces[start:])


def read_document(text: str) -> None:
    entry = document.read(text.encode(), "some/id")
    if entry.body and entry.body.strip() not in text.replace("\r\n", "\n").replace("\r", "\n"):
        assert entry.body.split()[0] in text, "the body is not the file's"


def edit_document(text: str) -> None:
    raw = text.encode()
    document.read(document.update(raw, changes={"title": "Other"}, removals=(), body=None), "id")


def with_front_matter(text: str) -> None:
    document.read(f"---\n{text}\n---\nBody.\n".encode(), "some/id")


def read_links(text: str) -> None:
    links_of(text)


def read_outline(text: str) -> None:
    outline(text)


def read_name(text: str) -> None:
    check_id(slug(text))
    check_id(text)


def read_query(text: str) -> None:
    query.words_of(text)


#: What reads each kind of text.
READERS: dict[str, Callable[[str], None]] = {
    "documents": read_document,
    "edits": edit_document,
    "front matters": with_front_matter,
    "links": read_links,
    "outlines": read_outline,
    "names": read_name,
    "queries": read_query,
}


def try_one(name: str, text: str) -> float:
    """Have it read; the seconds of processor time that took."""
    began = time.thread_time()
    try:
        READERS[name](text)
    except (PyriteError, DocumentError):
        pass
    except Exception as error:
        raise BrokenPromiseError(f"{name}: {error!r} of {text[:2000]!r}") from error
    return time.thread_time() - began


def read_many(seed: int, _: Path, inputs: int) -> Counter[str]:
    """Try so many inputs; how many of each kind."""
    chance = random.Random(seed)
    tried: Counter[str] = Counter()
    names = tuple(READERS)
    for _number in range(inputs):
        name, text = chance.choice(names), text_of(chance)
        bound = CONSTANT_S + PER_BYTE_S * len(text.encode())
        if (
            try_one(name, text) > bound
            and (took := min(try_one(name, text) for _ in "123")) > bound
        ):
            raise BrokenPromiseError(
                f"{name}: {took:.3f} s for {len(text.encode()):,} bytes, more than {bound:.3f} s: "
                f"{text[:300]!r}"
            )
        tried[name] += 1
    return tried


CAMPAIGN = Campaign("parsers", read_many, "inputs", per_round=5_000, full=1_000_000)

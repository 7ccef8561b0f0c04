"""The CISI test collection: documents of information science, queries, and who fits whom.

All three files are plain text. In the first two, ``.I n`` begins a record, and a line of a
point and a capital letter begins a field of it: ``.T`` the title, ``.A`` an author, ``.W`` the
text. The third has a judgement on each line, a query's number and that of a document which
answers it; what it does not name is no answer. Queries without a judgement do not count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2].parent / "shared" / "quality" / "cisi"

_MARK = re.compile(r"\.(?:I (?P<number>\d+)|(?P<field>[A-Z]))\s*")


@dataclass(frozen=True, slots=True)
class Document:
    """An article's title, authors and abstract."""

    number: int
    title: str
    authors: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody wants to know, from one sentence to a whole abstract."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, the queries that were judged, and for each query the documents that fit."""

    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    #: a query's number -> the numbers of the documents that answer it
    relevant: Mapping[int, frozenset[int]]


def read(folder: Path) -> Collection:
    """The collection in a folder.

    Raises:
        FileNotFoundError: it is not there.
    """
    documents, queries, judgements = (
        (folder / f"CISI.{name}").read_text(encoding="ascii") for name in ("ALL", "QRY", "REL")
    )
    return parse(documents, queries, judgements)


def parse(documents: str, queries: str, judgements: str) -> Collection:
    """The collection in the text of its three files."""
    relevant: defaultdict[int, set[int]] = defaultdict(set)
    for line in judgements.splitlines():
        query, document, *_ = line.split()
        relevant[int(query)].add(int(document))
    return Collection(
        tuple(_document(*record) for record in _records(documents)),
        tuple(_query(*record) for record in _records(queries) if record[0] in relevant),
        {query: frozenset(numbers) for query, numbers in relevant.items()},
    )


#: The lines of each occurrence of a field; authors have one each.
_Fields = Mapping[str, Sequence[Sequence[str]]]


def _records(text: str) -> Iterator[tuple[int, _Fields]]:
    number, fields = None, defaultdict[str, list[list[str]]](list)
    for line in text.splitlines():
        mark = _MARK.fullmatch(line)
        if mark and mark["number"]:
            if number is not None:
                yield number, fields
            number, fields = int(mark["number"]), defaultdict(list)
        elif mark:
            current: list[str] = []
            fields[mark["field"]].append(current)
        else:
            current.append(line.strip())
    if number is not None:
        yield number, fields


def _document(number: int, fields: _Fields) -> Document:
    authors = tuple(" ".join(lines).strip() for lines in fields["A"])
    return Document(number, _title(fields), authors, _text(fields))


def _query(number: int, fields: _Fields) -> Query:
    """A query is a question, or an article for which others like it are sought."""
    return Query(number, "\n\n".join(part for part in (_title(fields), _text(fields)) if part))


def _title(fields: _Fields) -> str:
    return " ".join(line for lines in fields["T"] for line in lines).strip()


def _text(fields: _Fields) -> str:
    return "\n".join(line for lines in fields["W"] for line in lines).strip()

"""Of a page of links, only its own files are read, and only the names that they may mean."""

from __future__ import annotations

import pytest

from pyrite.search import links
from pyrite.search.links import FoundLink, LinkService
from pyrite.vault.files import ReadFile, read_file
from tests.integration.hands import KB, Product

LINKING = 20


@pytest.fixture
def linked(product: Product) -> Product:
    """Entries that link to one and to nothing, each with three lines above its body."""
    above = "---\ntype: note\n---\n"
    texts = {f"{n:02}": f"{above}[[hub]]\n[[nowhere {n}]]\n" for n in range(LINKING)}
    product.fill({**texts, "hub": "# Hub\n" + "".join(f"[[{n:02}]]\n" for n in range(LINKING))})
    return product


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, in order."""
    seen: list[str] = []

    def read(root: object, path: str, **options: object) -> ReadFile:
        seen.append(path)
        return read_file(root, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(links, "read_file", read)
    return seen


def service(product: Product) -> LinkService:
    return LinkService(product.storage, product.kbs, product.settings)


def short(found: list[FoundLink]) -> list[tuple[str, int, str]]:
    return [(each.entry_id, each.line, each.link.target) for each in found]


def test_dangling_links_of_a_page(linked: Product, files: list[str]) -> None:
    found = service(linked).dangling([KB], limit=3, offset=5)

    assert short(found) == [(f"{n:02}", 5, f"nowhere {n}") for n in (5, 6, 7)]
    assert files == ["05.md", "06.md", "07.md"]
    assert short(service(linked).dangling([KB]))[5:8] == short(found)
    assert service(linked).dangling([KB], limit=3, offset=LINKING) == []


def test_pages_go_on_from_one_knowledge_base_to_the_next(linked: Product, files: list[str]) -> None:
    linked.add_kb("other")
    linked.fill({"x": "[[gone]]\n", "y": "[[lost]] [[x]]\n"}, kb="other")

    found = service(linked).dangling([KB, "other"], limit=9, offset=LINKING - 1)
    assert [(each.kb, each.entry_id) for each in found] == [
        (KB, f"{LINKING - 1:02}"),
        ("other", "x"),
        ("other", "y"),
    ]
    assert files == [f"{LINKING - 1:02}.md", "x.md", "y.md"]


def test_links_are_looked_through_in_parts(
    linked: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = service(linked).dangling([KB])
    monkeypatch.setattr(links, "_AT_ONCE", 7)

    assert len(whole) == LINKING
    assert service(linked).dangling([KB]) == whole


def test_the_links_of_an_entry_by_pages(linked: Product, files: list[str]) -> None:
    whole = service(linked).of(KB, "hub")
    assert [len(whole.links), len(whole.backlinks)] == [LINKING, LINKING]
    files.clear()
    page = service(linked).of(KB, "hub", limit=2, offset=4)

    assert (page.links, page.backlinks) == (whole.links[4:6], whole.backlinks[4:6])
    assert sorted(files) == ["04.md", "05.md", "hub.md"]


def test_only_names_that_are_meant_are_read(
    linked: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    names = linked.storage.names

    def counted(kb: str, keys: set[str]) -> object:
        found = names(kb, keys)
        read.extend(named.id for named in found)
        return found

    monkeypatch.setattr(linked.storage, "names", counted)
    found = service(linked).of(KB, "03")
    assert [each.leads_to.ids for each in found.links] == [("hub",), ()]
    assert [each.entry_id for each in found.backlinks] == ["hub"]
    assert set(read) <= {"hub", "03"}

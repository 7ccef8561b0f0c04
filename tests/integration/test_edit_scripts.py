"""Whatever is done to a folder, its embeddings end as those of a fresh build of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyrite.errors import PyriteError
from pyrite.vault.entry_files import Draft, Edit
from tests.fakes.encoder import FakeEncoder
from tests.integration import hands
from tests.integration.hands import KB, Product

PARAGRAPHS = [
    *(" ".join(f"w{n}x{word}" for word in range(30)) for n in range(6)),
    *(
        "# Heading",
        "## Below\n\nShort.",
        "- one\n- two",
        "```\ncode\n```",
        "Only a line.",
        "🎉 日本",
    ),
]
KBS = st.sampled_from([KB, "other"])
NAMES = st.sampled_from(["a", "b", "c", "d/e"])
BODIES = st.lists(st.sampled_from(PARAGRAPHS), max_size=8).map("\n\n".join)
#: (what is done, knowledge base, name, other knowledge base, other name, text)
Step: TypeAlias = tuple[str, str, str, str, str, str]
#: What is done to the files beside Pyrite is seen by a sync.
VERBS = [
    "write",
    "edit",
    "retitle",
    "delete",
    "put",
    "move",
    "remove",
    "sync",
    "embed",
    "embed one",
]
STEPS = st.tuples(st.sampled_from([*VERBS, "collect", "force"]), KBS, NAMES, KBS, NAMES, BODIES)


def act(product: Product, step: Step) -> None:
    verb, kb, name, to_kb, to_name, text = step
    path, target = (
        product.folder.parent / each_kb / f"{each}.md"
        for each_kb, each in ((kb, name), (to_kb, to_name))
    )
    match verb:
        case "write":
            with suppress(PyriteError):
                product.kbs.create_entry(kb, Draft(f"Title of {name}", id=name, body=text))
        case "edit":
            with suppress(PyriteError):
                product.kbs.update_entry(kb, name, Edit(body=text))
        case "retitle":
            with suppress(PyriteError):
                product.kbs.update_entry(kb, name, Edit({"title": "Other", "summary": text[:80]}))
        case "delete":
            with suppress(PyriteError):
                product.kbs.delete_entry(kb, name)
        case "put":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        case "move":
            target.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):
                path.replace(target)
        case "remove":
            path.unlink(missing_ok=True)
        case "sync":
            for each in product.kbs.kbs():
                product.folders.sync(each, accept_deletions=True)
        case "embed":
            product.drain()
        case "embed one":
            with suppress(PyriteError):
                product.embedding.embed_entry(FakeEncoder(), kb, name)
        case "collect":
            product.embedding.collect_unused(everything=True)
        case "force":
            product.embedding.reembed(kb)


def finished(product: Product) -> list[tuple[object, ...]]:
    """All passages with their vectors, once everything is read and embedded."""
    for each in product.kbs.kbs():
        product.folders.sync(each, accept_deletions=True)
    assert product.drain().failed == 0
    counts = product.storage.counts()
    assert counts.done == counts.total
    assert product.storage.problems() == {}
    return [
        (p.kb, p.entry_id, p.ordinal, p.start, p.end, p.headings, vector)
        for stored in product.storage.entries()
        for p, vector in product.storage.embeddings(stored.kb, stored.entry.id)
    ]


def step(verb: str, name: str = "a", text: str = "", *, kb: str = KB, to: str = "") -> Step:
    return verb, kb, name, to.partition("/")[0] or KB, to.partition("/")[2] or "b", text


LONG = "\n\n".join(PARAGRAPHS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=14))
@example([step("write", text=LONG), step("embed"), step("edit", text=LONG[200:]), step("collect")])
@example(
    [
        *(step("write", text=LONG), step("embed"), step("move", to="other/c"), step("sync")),
        *(step("collect"), step("write", text=LONG), step("force"), step("embed one")),
    ]
)
@example(
    [
        *(step("put", text=LONG), step("put", "b", LONG, kb="other"), step("sync"), step("embed")),
        *(
            step("remove"),
            step("sync"),
            step("collect"),
            step("put", text=LONG[:300]),
            step("sync"),
        ),
    ]
)
def test_a_script_ends_as_a_fresh_build_does(script: list[Step]) -> None:
    with TemporaryDirectory() as place:
        made = hands.product(Path(place))
        product = next(made)
        product.add_kb("other")
        for each in script:
            act(product, each)
        ended = finished(product)

        fresh_settings = replace(product.settings, home=Path(place) / "fresh")
        fresh = Product(fresh_settings.home, product.folder, fresh_settings)
        with fresh.opened:
            fresh.kbs.add_kb("other", Path(place) / "other")
            assert ended == finished(fresh)
            used = {vector for *_, vector in ended}
            product.embedding.collect_unused(everything=True)
            kept = product.query("SELECT vector FROM embeddings ORDER BY vector")
            assert kept == sorted((vector,) for vector in used)
            assert next(made, None) is None  # and the database is sound

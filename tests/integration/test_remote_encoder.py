"""The product with its model behind a server: embedding, searching, and what goes wrong."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from actors.messages import WorkerState
from pyrite.cli import context
from pyrite.config.settings import Settings
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.encoders.remote.client import Timing
from pyrite.encoders.remote.encoder import RemoteEncoder
from pyrite.errors import ModelError
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.service import SearchService
from pyrite.services.doctor import Level, model
from pyrite.vault.entry_files import Draft
from tests.fakes.embedding_server import (
    Asked,
    EmbeddingServer,
    Reply,
    as_json,
    error,
    good,
    rows,
)
from tests.integration.hands import KB, LONG, Product
from tests.integration.shell import Shell

KEY = "sk-Zq81-never-to-be-seen"

REAL_ENCODER = context.make_encoder


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as made:
        yield made


@pytest.fixture
def encoder(server: EmbeddingServer) -> Iterator[RemoteEncoder]:
    settings = Settings(
        home=Path.cwd(), model="served", remote_url=server.url, remote_key=KEY, remote_batch=4
    )
    made = RemoteEncoder(settings, Timing(wait=lambda event, _: event.is_set()))
    yield made
    made.unload()


def fill(product: Product, number: int) -> None:
    for each in range(number):
        product.kbs.create_entry(KB, Draft(f"n{each}", body=f"text {each} of all"))


def queue(product: Product) -> list[tuple[object, ...]]:
    """(status, attempts, how many)."""
    return product.query("SELECT status, attempts, count(*) FROM embed_queue GROUP BY 1, 2")


def drain(product: Product, encoder: RemoteEncoder) -> None:
    trio.run(EmbeddingWorker(product.storage, encoder, product.settings).process_queue)


# Embedding


def test_entries_are_embedded_whatever_passes(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 30)
    # As many as one request is tried again, should all of them be its.
    server.next.extend(
        [error(429, Retry_After="1"), error(500), lambda asked: replace(good(asked), cut=30)]
    )
    drain(product, encoder)
    assert queue(product) == [("done", 1, 30)]
    assert product.storage.embedding_state(1).count == 30


@pytest.mark.parametrize("status", [401, 404, 429, 400, 500])
def test_a_server_that_will_not_charges_no_entry(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder, status: int
) -> None:
    fill(product, 10)
    server.answering = error(status)
    with pytest.raises(ModelError, match=f"{server.url} .*{status}"):
        drain(product, encoder)
    assert queue(product) == [("pending", 0, 10)]
    server.answering = good
    drain(product, encoder)
    assert queue(product) == [("done", 1, 10)]


def test_a_server_that_is_not_there_charges_no_entry(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 3)
    server.answering = lambda asked: replace(good(asked), cut=0)
    with pytest.raises(ModelError, match="cannot be reached"):
        drain(product, encoder)
    assert queue(product) == [("pending", 0, 3)]


@pytest.mark.parametrize(("status", "attempts"), [(413, 1), (500, 3)])
def test_a_text_that_the_server_cannot_encode_fails_alone(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder, status: int, attempts: int
) -> None:
    def answering(asked: Asked) -> Reply:
        bad = any("text 3 " in text for text in asked.texts)
        return error(status, "too long")(asked) if bad else good(asked)

    fill(product, 10)
    server.answering = answering
    drain(product, encoder)
    assert queue(product) == [("done", 1, 9), ("failed", attempts, 1)]
    (failure,) = product.embedding.failures()
    assert "too long" in failure.error


async def test_a_worker_that_serves_says_why_it_waits(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 1)
    server.answering = error(401)
    worker = EmbeddingWorker(product.storage, encoder, product.settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        with trio.fail_after(LONG):
            while worker.statistics().state is not WorkerState.DEGRADED:  # noqa: ASYNC110 - another thread's doing
                await trio.sleep(0.001)
        assert "does not accept the key (401)" in str(worker.statistics().reason)
        worker.stop()
    assert queue(product) == [("pending", 0, 1)]


async def test_a_stop_does_not_wait_for_a_server_that_does_not_answer(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 1)
    server.answering = lambda _: Reply(never=True)
    worker = EmbeddingWorker(product.storage, encoder, product.tuned(grace_s=0.0))
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            while not server.asked:  # noqa: ASYNC110 - another thread's doing
                await trio.sleep(0.001)
            worker.stop()
    assert queue(product) == [("pending", 0, 1)]


def test_another_model_under_the_same_name_is_noticed(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 1)
    drain(product, encoder)
    # As after a restart: what the encoder has seen is forgotten, and what is stored is not.
    encoder.expect(None)
    server.answering = lambda asked: as_json({"data": rows([[1, 2, 3]] * len(asked.texts))})
    search = SearchService(product.storage, encoder, product.settings)
    with pytest.raises(ModelError, match="vectors of 3 numbers, and its embeddings have 16"):
        search.search(SearchRequest(query="text", mode=Mode.SEMANTIC))
    product.kbs.create_entry(KB, Draft("more", body="more"))
    with pytest.raises(ModelError, match=r"vectors of 3 numbers, .* have 16.*`remote_revision`"):
        drain(product, encoder)
    assert queue(product) == [("done", 1, 1), ("pending", 0, 1)]


# Searching


def test_a_search_asks_the_server_and_goes_on_by_words_without_it(
    product: Product, server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    fill(product, 3)
    drain(product, encoder)
    search = SearchService(product.storage, encoder, product.settings)
    found = search.search(SearchRequest(query="n1\n\ntext 1 of all", mode=Mode.SEMANTIC))
    assert found.hits[0].id == "n1"
    assert found.hits[0].score == pytest.approx(1)
    server.answering = error(401)
    found = search.search(SearchRequest(query="text 1", mode=Mode.HYBRID))
    assert len(found.hits) == 3
    assert str(found.warning).startswith("searched by words alone: the embedding server ")


# The doctor


def findings(product: Product, **settings: object) -> list[tuple[Level, str, str]]:
    return [(f.level, f.subject, f.text) for f in model(product.tuned(**settings))]


def test_the_doctor_asks_the_server(product: Product, server: EmbeddingServer) -> None:
    ((level, subject, text),) = findings(product, remote_url=server.url)
    assert (level, subject) == (Level.OK, "model")
    assert f"fake at {server.url} gives 16 numbers; texts are cut at 384 tokens" in text
    server.answering = error(404)
    ((level, subject, text),) = findings(product, remote_url=server.url)
    assert (level, subject) == (Level.ERROR, "model")
    assert "does not know the model fake (404)" in text


def test_the_doctor_looks_after_the_key(
    product: Product, server: EmbeddingServer, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o644)
    found = findings(product, remote_url=server.url, remote_key_file=str(path))
    assert found[1:] == [(Level.WARNING, "key", f"others on this computer can read {path}")]
    path.chmod(0o600)
    assert len(findings(product, remote_url=server.url, remote_key_file=str(path))) == 1
    away = {"remote_url": "http://no-such-host.invalid/v1", "remote_key": "two words"}
    found = findings(product, **away)
    assert [(level, subject) for level, subject, _ in found] == [
        (Level.ERROR, "model"),
        (Level.WARNING, "key"),
    ]
    assert "two words" not in str(found)


# The command


def test_the_key_is_nowhere_but_in_the_requests(
    shell: Shell,
    server: EmbeddingServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(context, "make_encoder", REAL_ENCODER)
    monkeypatch.setenv("PYRITE_MODEL", "served")
    monkeypatch.setenv("PYRITE_REMOTE_URL", server.url)
    monkeypatch.setenv("PYRITE_REMOTE_KEY", KEY)
    said = [
        shell.ok("kb", "add", "notes", str(shell.folder)),
        shell.ok("create", "--title", "A note", "--body", "about bees", "--no-embed"),
        shell.ok("index", "embed"),
        shell.ok("search", "bees", "--mode", "semantic", "--json"),
        shell.ok("config", "list"),
        shell.ok("config", "list", "--json"),
        shell("doctor"),
    ]
    assert len(said[3].json["hits"]) == 1
    assert {a.headers["authorization"] for a in server.asked} == {f"Bearer {KEY}"}
    shell.ok("create", "--title", "Another", "--body", "about wasps", "--no-embed")
    for status in (401, 400, 418):
        server.answering = lambda asked, status=status: Reply(  # type: ignore[misc]
            status, json.dumps({"error": str(asked.headers)}).encode()
        )
        said += [
            shell("index", "embed"),
            shell("search", "wasps"),
            shell("index", "embed", "--status"),
            shell("doctor"),
        ]
        with pytest.raises(ModelError) as raised:
            shell("--debug", "index", "embed")
        assert KEY not in "".join(traceback.format_exception(raised.value))
    assert "pyrite: the embedding server " in said[7].err
    for ran in said:
        assert KEY not in ran.out + ran.err
    assert KEY not in caplog.text
    for path in shell.home.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://user:{KEY}@host/v1", "no user name and no password"),
        (f"http://{KEY}@host/v1", "no user name and no password"),
        (f"http://host/v1?key={KEY}", "nothing after a ? or #"),
        (f"http://host/v1#{KEY}", "nothing after a ? or #"),
        ("host/v1", "should begin with http"),
        ("ftp://host", "should begin with http"),
        ("http://a b/", "should begin with http"),
        ("http:///v1", "should begin with http"),
        ("http://host:99999/v1", "Port out of range"),
        ("http://[::1/v1", "Invalid IPv6 URL"),
        ("http://host/v1/embeddings/", "the address without /embeddings"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    for_file = shell.refused("config", "set", "remote_url", url, code=2)
    monkeypatch.setenv("PYRITE_REMOTE_URL", url)
    for refusal in (for_file, shell.refused("kb", "list")):
        assert said in refusal
        assert KEY not in refusal


def test_the_key_is_not_written_into_the_file(shell: Shell) -> None:
    assert KEY not in shell.refused("config", "set", "remote_key", KEY, code=2)
    assert not (shell.home / "config.toml").exists()

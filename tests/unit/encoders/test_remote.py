"""The remote encoder against a real server on loopback, faults included."""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import trio

from actors.packing import BatchLimits
from actors.ports import RefusedTextError
from pyrite.config import loading
from pyrite.config.settings import Settings
from pyrite.encoders.choose import encoder_of
from pyrite.encoders.local.model_files import DEFAULT_MODEL, find
from pyrite.encoders.remote import client
from pyrite.encoders.remote.client import Timing
from pyrite.encoders.remote.encoder import RemoteEncoder
from pyrite.encoders.remote.requests import TextFailedError
from pyrite.errors import ModelError
from tests.fakes.embedding_server import (
    Answering,
    Asked,
    EmbeddingServer,
    Reply,
    as_json,
    error,
    good,
    rows,
    vectors_of,
)
from tests.fakes.encoder import embedding_of

KEY = "sk-Zq81-never-to-be-seen"

#: How long to wait for what surely comes, in seconds.
LONG = 30


@dataclass
class Time:
    """Time that passes when somebody sleeps, and at no other time."""

    at: float = 1000.0
    slept: list[float] = field(default_factory=list)
    #: So much longer is every sleep than it was to be.
    late: float = 0.0
    run_out: Callable[[], None] = lambda: None

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.slept.append(seconds)
        self.at += seconds + self.late
        return event.is_set()

    @contextmanager
    def deadline(self, seconds: float, function: Callable[[], None]) -> Iterator[None]:
        """One that never comes, unless the server says that it will not answer."""

        def run_out() -> None:
            self.at += seconds
            function()

        self.run_out = run_out
        yield

    def silence(self, _: Asked) -> Reply:
        """How a server does not answer the one request that there is."""
        self.run_out()
        return Reply(never=True)

    @property
    def timing(self) -> Timing:
        return Timing(lambda: self.at, lambda: 1_700_000_000.0, self.wait, self.deadline)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as made:
        yield made


@pytest.fixture
def time() -> Time:
    return Time()


def settings_of(server: EmbeddingServer, **options: object) -> Settings:
    """A server's, with these of the settings that begin with `remote_`."""
    named = {f"remote_{name}": value for name, value in {"url": server.url, **options}.items()}
    return Settings(home=Path.cwd(), model="served", **named)  # type: ignore[arg-type]


Make = Callable[..., RemoteEncoder]


@pytest.fixture
def make(server: EmbeddingServer, time: Time) -> Iterator[Make]:
    made: list[RemoteEncoder] = []

    def encoder(**options: object) -> RemoteEncoder:
        model = str(options.pop("model", "served"))
        settings = replace(settings_of(server, **options), model=model)
        made.append(RemoteEncoder(settings, time.timing))
        return made[-1]

    yield encoder
    for each in made:
        each.unload()


@pytest.fixture
def encoder(make: Make) -> RemoteEncoder:
    return make()


def same(found: object, texts: list[str]) -> bool:
    return bool(np.allclose(found, [embedding_of(text) for text in texts], atol=1e-6))  # type: ignore[arg-type]


def alone(refuse: Callable[[list[str]], bool], answering: Answering) -> Answering:
    """Answers so where it is to, and well otherwise."""
    return lambda asked: answering(asked) if refuse(asked.texts) else good(asked)


# What is asked, and what comes of it


def test_texts_become_vectors_of_unit_length_in_their_order(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    texts = ["a", "b", "schön 🌍 \ud800"]
    found = encoder.encode(texts)
    assert [(v.dtype, v.shape) for v in found] == [(np.float32, (16,))] * 3
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert same(found[:2], texts[:2])
    (asked,) = server.asked
    assert asked.path == "/v1/embeddings"
    assert asked.json == {"model": "served", "input": texts, "encoding_format": "float"}
    assert "authorization" not in asked.headers
    assert asked.headers["content-type"] == "application/json"
    assert encoder.dimension == 16


@pytest.fixture(autouse=True)
def lone_surrogates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no character can be sent, too; the fake makes a vector of it all the same."""
    monkeypatch.setattr(
        "tests.fakes.embedding_server.embedding_of",
        lambda text: embedding_of(text.encode(errors="replace").decode()),
    )


def test_nothing_is_asked_for_nothing(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    assert encoder.encode([]) == []
    assert server.asked == []


def test_texts_are_sent_in_several_requests_at_a_time(server: EmbeddingServer, make: Make) -> None:
    both = threading.Barrier(2)

    def together(asked: Asked) -> Reply:
        both.wait(LONG)  # passed only by two at a time
        return good(asked)

    server.answering = together
    texts = [f"text {n}" for n in range(16)]
    assert same(make(batch=2, concurrency=2).encode(texts), texts)
    assert sorted(map(len, server.texts)) == [2] * 8
    assert server.connections == 2


def test_connections_are_used_again(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    for _ in range(5):
        encoder.encode(["a"])
        encoder.encode_query("a")
    assert server.connections == 1


def test_calls_hold_what_all_requests_at_a_time_do(make: Make) -> None:
    limits = make(batch=8, concurrency=3).call_limits
    assert limits.texts == 24
    assert limits.tokens > 24 * 8192 > BatchLimits().tokens


def test_the_sides_have_their_prefixes(server: EmbeddingServer, make: Make) -> None:
    made = make(document_prefix="passage: ", query_prefix="query: ")
    made.encode(["a"])
    made.encode_query("b")
    assert server.texts == [["passage: a"], ["query: b"]]


def test_a_long_query_is_cut_to_what_the_model_reads(server: EmbeddingServer, make: Make) -> None:
    make(window=64).encode_query("word " * 1000)
    ((sent,),) = server.texts
    assert sent == " ".join(["word"] * (64 * 3 // 4 - 2)) + " "


def test_several_threads_can_ask_at_a_time(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    both = threading.Barrier(2)

    def together(asked: Asked) -> Reply:
        both.wait(LONG)
        return good(asked)

    server.answering = together
    other = threading.Thread(target=encoder.encode, args=(["document"],))
    other.start()
    assert same([encoder.encode_query("query")], ["query"])
    other.join(LONG)
    assert sorted(server.texts) == [["document"], ["query"]]


def test_an_encoder_can_be_closed_and_used_again(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    assert encoder.ready
    encoder.encode(["a"])
    encoder.unload()
    encoder.unload()
    assert server.closed.acquire(timeout=LONG)
    assert encoder.ready
    assert same(encoder.encode(["b"]), ["b"])
    assert server.connections == 2


def test_closing_waits_for_nobody_and_disturbs_nobody(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    def unloading(asked: Asked) -> Reply:
        encoder.unload()
        return good(asked)

    server.answering = unloading
    assert same(encoder.encode(["a"]), ["a"])


def test_a_forgotten_encoder_closes_its_connections(server: EmbeddingServer) -> None:
    encoder = RemoteEncoder(settings_of(server))
    encoder.encode(["a"])
    del encoder
    gc.collect()
    assert server.closed.acquire(timeout=LONG)


def test_a_process_ends_with_a_request_under_way(server: EmbeddingServer) -> None:
    server.answering = lambda _: Reply(never=True)
    code = (
        "import pathlib, sys, threading\n"
        "from pyrite.config.settings import Settings\n"
        "from pyrite.encoders.remote.encoder import RemoteEncoder\n"
        f"settings = Settings(home=pathlib.Path(), remote_url={server.url!r}, remote_batch=1)\n"
        "encoder = RemoteEncoder(settings)\n"
        "threading.Thread(target=encoder.encode, args=(['a', 'b'],), daemon=True).start()\n"
        "while 'embedding request' not in str(threading.enumerate()): pass\n"
        "heavy = {'torch', 'openvino', 'sentence_transformers', 'transformers'}\n"
        "print(*heavy & sys.modules.keys())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert ran.stdout == "\n"


# Forms of answers


def reply_with(embeddings: object) -> Answering:
    return lambda asked: as_json({"data": rows([embeddings] * len(asked.texts))})


def test_vectors_may_come_in_any_order(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.answering = lambda asked: as_json({"data": rows(vectors_of(asked.texts))[::-1]})
    assert same(encoder.encode(["a", "b", "c"]), ["a", "b", "c"])


def test_vectors_may_come_without_numbers(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.answering = lambda asked: as_json(
        {"data": [{"embedding": vector} for vector in vectors_of(asked.texts)]}
    )
    assert same(encoder.encode(["a", "b"]), ["a", "b"])


def test_vectors_may_come_as_base64(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    def packed(asked: Asked) -> Reply:
        vectors = np.asarray(vectors_of(asked.texts), "<f4")
        return as_json({"data": rows([base64.b64encode(v.tobytes()).decode() for v in vectors])})

    server.answering = packed
    assert same(encoder.encode(["a", "b"]), ["a", "b"])


def test_vectors_may_come_in_lists_of_their_own(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = lambda asked: as_json({"data": rows([[v] for v in vectors_of(asked.texts)])})
    assert same(encoder.encode(["a", "b"]), ["a", "b"])


def test_very_large_numbers_have_a_direction(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = reply_with([3e300, 4e300])
    assert np.allclose(encoder.encode(["a"]), [[0.6, 0.8]])


NONSENSE = {
    "not JSON": (lambda _: Reply(body=b"<html>Welcome</html>"), "is not JSON"),
    "deep": (lambda _: Reply(body=b"[" * 200_000), "is not JSON"),
    "no embeddings": (lambda _: as_json([]), "without embeddings"),
    "strange rows": (lambda _: as_json({"data": ["a"]}), "without embeddings"),
    "too few": (lambda _: as_json({"data": []}), "gives 0 vectors for 2 texts"),
    "too many": (lambda a: as_json({"data": rows([[1], [1], [1]])}), "3 vectors for 2 texts"),
    "twice": (
        lambda _: as_json({"data": [{"index": 0, "embedding": [1]}] * 2}),
        "numbered wrongly",
    ),
    "partly": (
        lambda _: as_json({"data": [{"index": 0, "embedding": [1]}, {"embedding": [1]}]}),
        "numbered wrongly",
    ),
    "words": (reply_with(["a"]), "not a list of numbers"),
    "bad base64": (reply_with("?"), "not a list of numbers"),
    "a number": (reply_with(1), "not a list of numbers"),
    "ragged": (reply_with([[1], [1, 2]]), "not a list of numbers"),
    "deeper": (reply_with([[[1]]]), "not a list of numbers"),
    "tokens": (reply_with([[1, 2], [3, 4]]), "a vector for each token"),
    "empty": (reply_with([]), "an empty vector"),
    "unequal": (lambda _: as_json({"data": rows([[1], [1, 2]])}), "different lengths"),
    "compressed": (
        lambda asked: replace(good(asked), headers={"Content-Encoding": "gzip"}),
        "in the encoding gzip",
    ),
}


@pytest.mark.parametrize(("answering", "said"), NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_that_is_none_is_the_servers_fault(
    server: EmbeddingServer,
    encoder: RemoteEncoder,
    answering: Answering,
    said: str,
) -> None:
    server.answering = answering
    with pytest.raises(ModelError, match=said) as raised:
        encoder.encode(["a", "b"])
    assert str(raised.value).startswith(f"the embedding server {server.url} gives ")
    assert len(server.asked) == 1


def test_a_huge_answer_is_not_read(
    server: EmbeddingServer, encoder: RemoteEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LONGEST_ANSWER", 10_000)
    server.answering = lambda _: Reply(body=b" " * 1_000_000)
    with pytest.raises(ModelError, match="more than 10,000 bytes"):
        encoder.encode(["a"])


def test_a_huge_refusal_is_only_begun(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.answering = lambda _: Reply(402, b"pay " * 1_000_000)
    with pytest.raises(ModelError, match="402 Payment Required: pay pay") as raised:
        encoder.encode(["a"])
    assert len(str(raised.value)) < 400


# Whose fault it is: the server's


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "wants a key"),
        (403, "wants a key"),
        (404, "does not know the model served .404.; .*: it says no"),
        (405, "405 Method Not Allowed"),
        (402, "402 Payment Required: it says no"),
        (501, "501 Not Implemented"),
        (499, "answers 499: it says no"),
    ],
)
def test_what_is_wrong_for_every_text_is_not_tried_again(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time, status: int, said: str
) -> None:
    server.answering = error(status)
    with pytest.raises(ModelError, match=said):
        encoder.encode(["a", "b"])
    assert (len(server.asked), time.slept) == (1, [])


def test_a_server_that_is_not_there_is_tried_a_few_times(make: Make, time: Time) -> None:
    with EmbeddingServer() as gone:
        url = gone.url
    encoder = make(url=url)
    for ask in (lambda: encoder.encode(["a", "b"]), encoder.load):
        with pytest.raises(ModelError, match=f"{url} cannot be reached: "):
            ask()
        assert time.slept == [0.5, 1, 2]
        time.slept.clear()


@pytest.mark.parametrize("status", [408, 424, 425, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_not_noticed(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time, status: int
) -> None:
    server.next.extend([error(status)] * 3)
    assert same(encoder.encode(["a"]), ["a"])
    assert time.slept == [0.5, 1, 2]
    assert encoder.encode(["b"])


def test_nothing_is_tried_again_when_the_time_is_over(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    time.late = 60
    server.next.append(error(500, "once"))
    with pytest.raises(ModelError, match="once"):
        encoder.encode_query("a")
    assert len(server.asked) == 1


def test_a_connection_that_breaks_in_an_answer_is_made_anew(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.next.append(lambda asked: replace(good(asked), cut=20))
    server.next.append(lambda asked: replace(good(asked), cut=0))
    assert same(encoder.encode(["a"]), ["a"])
    assert time.slept == [0.5, 1]


def test_an_answer_that_does_not_come_is_given_up(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.answering = time.silence
    with pytest.raises(ModelError, match="gave no answer within 60 s"):
        encoder.encode(["a"])
    server.answering = good
    assert same(encoder.encode(["a"]), ["a"])


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_an_answer_that_stops_midway_is_given_up(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time, headers: dict[str, str]
) -> None:
    """Also where only the end of the connection would be the end of the answer."""

    def stopping(asked: Asked) -> Reply:
        return replace(good(asked), headers=headers, cut=20, never=True, begun=time.run_out)

    server.answering = stopping
    with pytest.raises(ModelError, match="gave no answer within 60 s"):
        encoder.encode(["a"])


def test_the_time_for_an_answer_is_kept_by_the_clock_on_the_wall(server: EmbeddingServer) -> None:
    server.answering = lambda _: Reply(never=True)
    encoder = RemoteEncoder(settings_of(server, timeout_s=0.02, query_timeout_s=0.02))
    with pytest.raises(ModelError, match=r"gave no answer within 0\.0\d* s"):
        encoder.encode(["a"])
    encoder.unload()


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_with_too_much_to_do_is_left_alone_for_as_long_as_it_wants(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time, status: int
) -> None:
    server.next.append(error(status, Retry_After="20"))
    assert same(encoder.encode(["a"]), ["a"])
    assert time.slept == [20]
    server.next.append(error(status, Retry_After="90"))
    with pytest.raises(ModelError, match=f"answers {status} "):
        encoder.encode(["a"])
    assert time.slept == [20]
    asked = len(server.asked)
    for ask in (encoder.load, lambda: encoder.encode(["a"]), lambda: encoder.encode_query("a")):
        with pytest.raises(ModelError, match="wants to be left alone for another 90 s"):
            ask()
    assert len(server.asked) == asked
    time.at += 90
    assert same(encoder.encode(["a"]), ["a"])


def test_nobody_is_left_alone_for_ever(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.next.append(error(429, Retry_After="86400"))
    with pytest.raises(ModelError):
        encoder.encode(["a"])
    time.at += 300
    assert same(encoder.encode(["a"]), ["a"])


def test_being_busy_is_nobodys_fault(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.answering = error(429, "slow down")
    with pytest.raises(ModelError, match="429 Too Many Requests: slow down"):
        encoder.encode(["a", "b"])
    assert len(server.asked) == 4


def test_of_several_requests_one_that_fails_ends_the_call(
    server: EmbeddingServer, make: Make
) -> None:
    def answering(asked: Asked) -> Reply:
        return error(401)(asked) if asked.texts == ["a"] else Reply(never=True)

    server.answering = answering
    with pytest.raises(ModelError, match="wants a key"):
        make(batch=1, concurrency=4).encode(["b", "a", "c", "d"])


def test_a_refusal_of_every_text_is_the_servers(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = error(400, "no such model")
    with pytest.raises(ModelError, match="400 Bad Request: no such model"):
        encoder.encode(["a", "b", "c"])


def test_vectors_of_no_direction_for_every_text_are_the_servers(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = reply_with([float("nan")] * 4)
    with pytest.raises(ModelError, match="not finite"):
        encoder.encode(["a"])


def test_a_redirect_is_not_followed(server: EmbeddingServer, make: Make) -> None:
    with EmbeddingServer() as elsewhere:
        where = f"{elsewhere.url}/embeddings?token=secret"
        server.answering = lambda _: Reply(307, headers={"Location": where})
        with pytest.raises(ModelError, match=r"sends us on to 127\.0\.0\.1 \(307\)") as raised:
            make(key=KEY).encode(["a"])
        assert "secret" not in str(raised.value)
        assert elsewhere.asked == []
        for location in ("", "http://[", "/other"):
            server.answering = lambda _, to=location: Reply(302, headers={"Location": to})  # type: ignore[misc]
            with pytest.raises(ModelError, match="sends us on to another address"):
                make().encode(["a"])


# Whose fault it is: a text's


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_text_that_is_refused_alone_is_refused_for_good(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time, status: int
) -> None:
    server.answering = alone(lambda texts: "bad" in texts, error(status, "too long"))
    with pytest.raises(
        RefusedTextError, match=f"^the embedding server answers {status} .*too long"
    ):
        encoder.encode(["bad"])
    assert time.slept == []
    with pytest.raises(RefusedTextError):
        encoder.encode(["a", "b", "bad", "c"])
    assert same(encoder.encode(["a", "b"]), ["a", "b"])


@pytest.mark.parametrize("vector", [[float("nan"), 1], [None, 1], [float("inf"), 1], [0, 0]])
def test_a_text_whose_vector_has_no_direction_is_refused(
    server: EmbeddingServer, encoder: RemoteEncoder, vector: list[object]
) -> None:
    def answering(asked: Asked) -> Reply:
        found = [vector if text == "bad" else [3, 4] for text in asked.texts]
        return as_json({"data": rows(found)})

    server.answering = answering
    with pytest.raises(RefusedTextError, match="not finite, or has no direction"):
        encoder.encode(["a", "bad"])
    assert np.allclose(encoder.encode(["a", "b"]), [0.6, 0.8])


def test_a_text_that_the_server_fails_at_may_yet_succeed(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = alone(lambda texts: "bad" in texts, error(500, "input is too large"))
    with pytest.raises(TextFailedError, match="500 Internal Server Error: input is too large"):
        encoder.encode(["a", "bad"])


def test_a_server_that_comes_back_while_it_is_looked_at_charges_nobody(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.next.extend([error(500)] * 4)
    assert same(encoder.encode(["a"]), ["a"])
    assert server.texts == [["a"]] * 4 + [["probe"], ["a"]]


def test_a_server_that_goes_away_while_it_is_looked_at_charges_nobody(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    for last in (error(429), error(401)):
        server.next.extend([*[error(500)] * 4, good, last])
        with pytest.raises(ModelError):
            encoder.encode(["a"])
        server.next.extend([error(413), error(429)])
        with pytest.raises(ModelError, match="429"):
            encoder.encode(["a"])


def test_too_many_texts_at_once_are_halved_and_fewer_sent_from_then_on(
    server: EmbeddingServer, make: Make
) -> None:
    server.answering = alone(lambda texts: len(texts) > 4, error(413, "batch size 16 > 4"))
    encoder = make(concurrency=1)
    texts = [f"text {n}" for n in range(16)]
    assert same(encoder.encode(texts), texts)
    server.asked.clear()
    assert same(encoder.encode(texts), texts)
    assert list(map(len, server.texts)) == [4] * 4


def test_what_takes_too_long_together_is_halved(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.answering = alone(lambda texts: len(texts) > 1, time.silence)
    assert same(encoder.encode(["a", "b"]), ["a", "b"])


# Queries


def test_a_query_has_less_patience(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.answering = time.silence
    with pytest.raises(ModelError, match="within 10 s"):
        encoder.encode_query("q")
    asked = len(server.asked)
    with pytest.raises(ModelError, match=r"failed a moment ago: it gave no answer"):
        encoder.encode_query("q")
    assert len(server.asked) == asked
    # Documents have nobody who waits for them.
    server.answering = good
    assert same(encoder.encode(["a"]), ["a"])
    time.at += 5
    assert same([encoder.encode_query("q")], ["q"])


def test_a_query_is_tried_once_more(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.next.append(error(500))
    assert same([encoder.encode_query("q")], ["q"])
    assert time.slept == [0.2]


def test_a_query_that_is_refused_is_no_reason_not_to_ask_another(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.next.append(error(400))
    with pytest.raises(ModelError, match="400"):
        encoder.encode_query("bad")
    assert same([encoder.encode_query("q")], ["q"])


# The model


def test_another_dimension_is_another_model(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    encoder.encode(["a"])
    encoder.unload()
    server.answering = reply_with([1, 2, 3])
    for ask in (lambda: encoder.encode(["a"]), lambda: encoder.encode_query("a"), encoder.load):
        with pytest.raises(ModelError, match=r"vectors of 3 numbers, and those .* have 16: .*"):
            ask()
    encoder.expect(3)
    assert encoder.encode(["a"])
    encoder.expect(None)
    server.answering = good
    assert encoder.encode(["a"])


def test_loading_sees_whether_it_would_work(server: EmbeddingServer, make: Make) -> None:
    make(document_prefix="passage: ").load()
    assert server.texts == [["passage: probe"]]


def test_the_fingerprint_tells_models_apart_and_not_where_they_are(make: Make) -> None:
    one = make()
    assert one.fingerprint() == make().fingerprint()
    assert one.name == "served"
    same_ones = [
        make(url="http://elsewhere/v1"),
        make(key=KEY),
        make(query_prefix="query: "),
        make(window=8192),
    ]
    assert {each.fingerprint() for each in same_ones} == {one.fingerprint()}
    others = [make(model="other"), make(document_prefix="passage: "), make(revision="2")]
    assert len({each.fingerprint() for each in [one, *others]}) == 4


def test_texts_are_cut_by_the_models_tokenizer_or_an_estimate(make: Make, tmp_path: Path) -> None:
    assert make(window=512).window == 384
    assert make(window=512, document_prefix="search document: ").window == 381
    default = find(DEFAULT_MODEL).path / "tokenizer.json"
    for path in (default, default.parent):
        named = make(window=512, tokenizer=str(path))
        assert (named.window, named.tokenizer().get_vocab_size()) == (512, 30522)
    with pytest.raises(ModelError, match=r"the setting `remote_tokenizer` cannot be used: .*none"):
        make(tokenizer=str(tmp_path / "none.json")).tokenizer()


def test_threads_are_the_servers_own(encoder: RemoteEncoder) -> None:
    encoder.set_threads(7)
    assert encoder.encode(["a"])


# The key


def test_the_key_is_sent(server: EmbeddingServer, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    make(key=KEY).encode(["a"])
    make(key_file=str(path)).encode(["a"])
    make(key="another", key_file=str(path)).encode(["a"])
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == [f"Bearer {KEY}", f"Bearer {KEY}", "Bearer another"]


def test_a_key_that_changes_is_used(server: EmbeddingServer, make: Make, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("former")
    encoder = make(key_file=str(path))
    encoder.encode(["a"])
    path.write_text("latter")
    encoder.encode(["a"])
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == ["Bearer former", "Bearer latter"]


@pytest.mark.parametrize("content", ["", " \n", "two words", "a\nb", f"{KEY}\x00", f"{KEY}é"])
def test_what_is_no_key_is_not_sent(
    server: EmbeddingServer, make: Make, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ModelError, match="does not hold a key") as raised:
        make(key_file=str(path)).encode(["a"])
    assert KEY not in str(raised.value)
    if content:
        with pytest.raises(ModelError, match="the setting `remote_key` does not hold a key"):
            make(key=content).encode(["a"])
    assert server.asked == []


def test_a_file_that_is_not_there_is_the_models_fault(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        make(key_file=str(tmp_path / "none")).encode(["a"])


def repeating(asked: Asked) -> bytes:
    """What a server says that gives away what it was sent."""
    return json.dumps({"error": {"message": "x" * 150 + str(asked.headers)}}).encode()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 418, 429, 500, 503])
@pytest.mark.parametrize("form", ["json", "text", "bare"])
def test_the_key_is_in_no_message(
    server: EmbeddingServer,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    status: int,
    form: str,
) -> None:
    caplog.set_level(logging.DEBUG)

    def answering(asked: Asked) -> Reply:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        bodies = {"json": repeating(asked), "text": (f"{'y' * 190}{key}").encode(), "bare": b""}
        headers = {"Location": f"http://{key}.example/{key}", "Retry-After": key}
        return Reply(status, bodies[form], headers)

    server.answering = alone(lambda texts: texts == ["a"], answering)
    encoder = make(key=KEY)
    for ask in (lambda: encoder.encode(["a"]), lambda: encoder.encode_query("a")):
        with pytest.raises((ModelError, RefusedTextError, TextFailedError)) as raised:
            ask()
        chain: BaseException | None = raised.value
        while chain is not None:
            assert KEY[:10].lower() not in repr(chain).lower()
            chain = chain.__cause__
    assert "POST" in caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(encoder.__dict__)


def test_what_a_server_says_cannot_steer_the_terminal(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.answering = error(402, "\x1b[2Jred\nnext\u202e")
    with pytest.raises(ModelError, match=r": \[2Jred next$"):
        encoder.encode(["a"])


@pytest.mark.parametrize(
    "said",
    ["plain", {"error": "plain"}, {"message": "plain"}, {"detail": "plain"}, "plain\n"],
)
def test_each_servers_words_are_found(
    server: EmbeddingServer, encoder: RemoteEncoder, said: object
) -> None:
    server.answering = lambda _: as_json(said, 402)
    with pytest.raises(ModelError, match=r"402 Payment Required: plain$"):
        encoder.encode(["a"])


def test_a_page_of_html_is_not_repeated(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.answering = lambda _: Reply(402, b"<html>")
    with pytest.raises(ModelError, match=r"402 Payment Required$"):
        encoder.encode(["a"])


@pytest.mark.skipif(os.name != "posix", reason="there are no signals to one thread")
def test_an_interrupted_wait_gives_the_requests_up(server: EmbeddingServer, make: Make) -> None:
    main = threading.main_thread().ident
    assert main is not None
    both = threading.Barrier(2, lambda: signal.pthread_kill(main, signal.SIGINT))

    def interrupting(_: Asked) -> Reply:
        both.wait(LONG)
        return Reply(never=True)

    server.answering = interrupting
    encoder = make(batch=1)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["a", "b"])
    assert "embedding request" not in {thread.name for thread in threading.enumerate()}
    server.answering = good
    assert same(encoder.encode(["a"]), ["a"])


async def test_an_encoder_may_be_forgotten_on_a_thread_that_runs_trio(
    server: EmbeddingServer,
) -> None:
    encoder = RemoteEncoder(settings_of(server))
    await trio.to_thread.run_sync(encoder.encode, ["a"])
    del encoder
    gc.collect()
    assert await trio.to_thread.run_sync(server.closed.acquire, True, LONG)


def test_the_settings_choose_it(tmp_path: Path) -> None:
    settings = loading.load(
        {
            "PYRITE_HOME": str(tmp_path),
            "PYRITE_REMOTE_URL": "http://127.0.0.1:1/v1/",
            "PYRITE_REMOTE_KEY": KEY,
            "PYRITE_REMOTE_KEY_FILE": "key",
            "PYRITE_MODEL": "served",
        }
    )
    chosen = encoder_of(settings, print)
    assert isinstance(chosen, RemoteEncoder)
    assert chosen.name == "served"
    assert KEY not in repr(settings)
    assert chosen._url == "http://127.0.0.1:1/v1"

"""A model that costs nothing: an embedding is a function of the text, and differs with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from actors.messages import Vector
from actors.packing import BatchLimits
from pyrite.markdown.chunks import Splitter, Text

DIMENSION = 16


def embedding_of(text: str) -> Vector:
    """The text's embedding: float32, shape (DIMENSION,), unit length."""
    digest = hashlib.blake2b(text.encode(), digest_size=2 * DIMENSION).digest()
    vector = np.frombuffer(digest, "<u2").astype(np.float32) - 2**15
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def words_and_marks() -> Tokenizer:
    """A tokenizer to which every word and every run of marks is one token."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def texts_of(entry: Text) -> list[str]:
    """What of an entry the fake encoder is given."""
    pairs = Splitter(words_and_marks(), FakeEncoder.window).split(entry)
    return [chunk.text for _, chunk in pairs]


class FakeEncoder:
    """A TextEncoder without a model.

    Attributes:
        calls: the texts of every call.
        loads: how often it was loaded, having been unloaded before.
        threads: how many threads it was last told to use, if it was.
        fail: called with the texts of a call before it is answered; may raise.
    """

    window = 64

    def __init__(
        self,
        name: str = "fake",
        *,
        delay_s: float = 0.0,
        concurrency: int = 1,
        fail: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self.name = name
        self.ready = False
        self.delay_s = delay_s
        self.concurrency = concurrency
        self.fail = fail
        self.calls: list[list[str]] = []
        self.loads = 0
        self.threads: int | None = None

    def fingerprint(self) -> str:
        return f"fingerprint of {self.name}"

    @property
    def call_limits(self) -> BatchLimits:
        return BatchLimits()

    def tokenizer(self) -> Tokenizer:
        return words_and_marks()

    def load(self) -> None:
        self.loads += not self.ready
        self.ready = True

    def unload(self) -> None:
        self.ready = False

    def set_threads(self, threads: int) -> None:
        self.threads = threads
        self.unload()

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.calls.append(list(texts))
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.fail is not None:
            self.fail(texts)
        return [embedding_of(text) for text in texts]

    def encode_query(self, text: str) -> Vector:
        self.load()
        return embedding_of(text)

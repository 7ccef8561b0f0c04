"""A model that costs nothing: an embedding is a function of the text, and differs with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from actors.messages import Vector

DIMENSION = 16


def embedding_of(text: str) -> Vector:
    """The text's embedding: float32, shape (DIMENSION,), unit length."""
    digest = hashlib.blake2b(text.encode(), digest_size=2 * DIMENSION).digest()
    vector = np.frombuffer(digest, "<u2").astype(np.float32) - 2**15
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeEncoder:
    """A TextEncoder without a model.

    Attributes:
        calls: the texts of every call.
        fail: called with the texts of a call before it is answered; may raise.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        delay_s: float = 0.0,
        fail: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self.name = name
        self.window = 64
        self.ready = False
        self.delay_s = delay_s
        self.fail = fail
        self.calls: list[list[str]] = []

    def fingerprint(self) -> str:
        return f"fingerprint of {self.name}"

    def load(self) -> None:
        self.ready = True

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

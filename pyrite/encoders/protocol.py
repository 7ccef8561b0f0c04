"""Protocols of encoders, with what the pipeline does not ask of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from actors.messages import Vector
from actors.packing import BatchLimits
from actors.ports import Encoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class QueryEncoder(Protocol):
    """What a search needs of an encoder."""

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    def fingerprint(self) -> str:
        """What tells this model's embeddings from any other's.

        Raises:
            ModelError: the model cannot be found, or is not what it should be.
        """
        ...

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query: float32, shape (dimension,), unit length.

        Raises:
            ModelError: the model cannot be loaded.
        """
        ...


class TextEncoder(Encoder, QueryEncoder, Protocol):
    """An encoder that can say which model it is before it has loaded it."""

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads, special ones included."""
        ...

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text; needs no model to be loaded.

        Raises:
            ModelError: the model cannot be found, or has no tokenizer that can be used alone.
        """
        ...

    @property
    def call_limits(self) -> BatchLimits:
        """How large the calls are that encode fastest, as far as is known before it is loaded."""
        ...

    def set_threads(self, threads: int) -> None:
        """Encode with so many threads from now on; what is loaded is unloaded for it.

        0 leaves it to the encoder.
        """
        ...


@runtime_checkable
class Expecting(Protocol):
    """An encoder whose model may become another one without its fingerprint's showing it."""

    def expect(self, dimension: int | None) -> None:
        """Take vectors of any other dimension for a ModelError; None where any will do."""
        ...

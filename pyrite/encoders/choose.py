"""The encoder that the settings ask for.

A server where they name one. Otherwise, on a graphics processor, sentence-transformers; on others
OpenVINO where it serves.

Making one imports nothing heavy and reads nothing.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from actors.packing import BatchLimits
from pyrite.encoders.local import cuda
from pyrite.encoders.local.arithmetic import Precision
from pyrite.encoders.local.openvino import OpenVinoEncoder
from pyrite.encoders.local.sentence_transformers import SentenceTransformerEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from actors.messages import Vector
    from pyrite.config.settings import Settings
    from pyrite.encoders.local.prepare import Say
    from pyrite.encoders.protocol import TextEncoder


def make_encoder(
    model: str,
    *,
    precision: Precision = "exact",
    threads: int = 0,
    cache: Path | None = None,
    say: Say = lambda _: None,
) -> TextEncoder:
    """An encoder for the model; it loads nothing yet.

    Args:
        model: the setting of that name.
        precision: "exact" for cosine 0.9999 or better to float32, "fast" for 0.99.
        threads: how many threads encode; 0 is one for each processor.
        cache: where prepared models are kept; the user's cache folder unless given.
        say: is told what takes long, in a line for people.
    """
    return FastestEncoder(model, precision, threads, cache or user_cache(), say)


def encoder_of(settings: Settings, say: Say) -> TextEncoder:
    """The encoder that the settings name; it loads nothing yet."""
    if settings.remote_url:
        # Imported only here: it brings an HTTP client.
        from pyrite.encoders.remote.encoder import RemoteEncoder  # noqa: PLC0415

        return RemoteEncoder(settings)
    return make_encoder(
        settings.model,
        precision="fast" if settings.precision == "fast" else "exact",
        threads=settings.threads,
        cache=settings.cache_path,
        say=say,
    )


def user_cache() -> Path:
    """The platform's folder for what can be made again."""
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_cache_path("pyrite", appauthor=False)


class FastestEncoder:
    """OpenVINO's encoder, or the library's own where the model cannot be prepared.

    See :class:`pyrite.encoders.protocol.TextEncoder`. The library's vectors keep the promise of
    either precision, so that what computed them does not show in the fingerprint.
    """

    def __init__(
        self, model: str, precision: Precision, threads: int, cache: Path, say: Say
    ) -> None:
        self._first = OpenVinoEncoder(
            model, cache=cache, precision=precision, threads=threads, say=say
        )
        self._otherwise = SentenceTransformerEncoder(model, threads=threads)
        self._say = say
        self._chosen: OpenVinoEncoder | SentenceTransformerEncoder | None = None
        self._loading = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._first.name

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads."""
        return self._first.window

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._chosen is not None and self._chosen.ready

    def fingerprint(self) -> str:
        """What tells these embeddings from any others; nothing is loaded for it."""
        return self._first.fingerprint()

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text."""
        return self._first.tokenizer()

    def load(self) -> None:
        """Choose and load, once.

        Raises:
            ModelError: the model cannot be loaded either way.
        """
        self._loaded()

    def unload(self) -> None:
        """Give back the memory; the next call loads again, and need not choose anew."""
        self._first.unload()
        self._otherwise.unload()
        give_back_memory()

    @property
    def concurrency(self) -> int:
        """How many calls at a time do well."""
        return (self._chosen or self._first).concurrency

    @property
    def call_limits(self) -> BatchLimits:
        """How large the calls are that encode fastest."""
        return (self._chosen or self._first).call_limits

    def set_threads(self, threads: int) -> None:
        """Encode with so many threads from the next call on."""
        self._first.set_threads(threads)
        self._otherwise.set_threads(threads)

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector of shape (dimension,) for each text."""
        return self._loaded().encode(texts)

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query."""
        return self._loaded().encode_query(text)

    def _loaded(self) -> OpenVinoEncoder | SentenceTransformerEncoder:
        from pyrite.encoders.local.prepare import NotPreparedError  # noqa: PLC0415

        with self._loading:
            if self._chosen is not self._otherwise and not cuda.at_hand():
                try:
                    self._first.load()
                except NotPreparedError as error:
                    self._say(f"encoding with sentence-transformers, which is slower: {error}")
                else:
                    self._chosen = self._first
                    return self._first
            self._otherwise.load()
            self._chosen = self._otherwise
            return self._otherwise


def give_back_memory() -> None:
    """Give the operating system what nothing uses any more."""
    gc.collect()
    # Only glibc keeps freed memory for itself until it is told otherwise, and has this function.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

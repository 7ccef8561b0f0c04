"""The encoder that computes on this machine, whichever library does it."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from actors.messages import Vector
from actors.packing import BatchLimits
from pyrite.encoders.local.arithmetic import CONCURRENCY, Precision
from pyrite.encoders.local.model_files import ModelFiles, cached_fingerprint, find
from pyrite.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    Matrix = npt.NDArray[np.float32]

#: Is told what takes long, in a line for people.
Say = Callable[[str], None]


class NotPreparedError(ModelError):
    """The model cannot be prepared for OpenVINO on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory; it goes with the last call that uses it."""

    #: float32, shape (texts, dimension), unit length; called with one text or more.
    documents: Callable[[Sequence[str]], Matrix]
    #: float32, shape (dimension,), unit length.
    query: Callable[[str], Vector]
    #: How many calls at a time do well, and how large they best are.
    concurrency: int
    call_limits: BatchLimits


class Backend(Protocol):
    """A library that computes embeddings."""

    def load(
        self, files: ModelFiles, fingerprint: str, precision: Precision, threads: int
    ) -> LoadedModel:
        """Load the model; 0 threads leave their number to the backend.

        Raises:
            NotPreparedError: this backend cannot be used for it here; another may.
            ModelError: it cannot be loaded.
        """
        ...


class LocalEncoder:
    """A model on this machine; see :class:`pyrite.encoders.protocol.TextEncoder`.

    The vectors of each backend keep the promise of the precision, so that what computed them does
    not show in the fingerprint.
    """

    def __init__(
        self,
        model: str,
        backends: Iterable[Backend],
        *,
        precision: Precision = "exact",
        threads: int = 0,
        cache: Path | None = None,
        say: Say = lambda _: None,
    ) -> None:
        """Load nothing yet.

        Args:
            model: the setting of that name.
            backends: in the order in which they are tried; asked for when they are needed.
            precision: "exact" for cosine 0.9999 or better to float32, "fast" for 0.99.
            threads: how many encode; 0 is one for each processor.
            cache: where fingerprints are remembered.
            say: is told of a backend that cannot be used.
        """
        #: The model's name.
        self.name = model
        #: How many calls at a time do well, and how large they best are, as far as is known.
        self.concurrency = CONCURRENCY
        self.call_limits = BatchLimits()
        self._backends = iter(backends)
        self._backend: Backend | None = None
        self._precision: Precision = precision
        self._threads = threads
        self._cache = cache
        self._say = say
        self._model: LoadedModel | None = None
        self._loading = threading.Lock()

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads."""
        return self._files.window()

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text."""
        return self._files.tokenizer()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    def fingerprint(self) -> str:
        """What tells these embeddings from any others; computed once, nothing is loaded for it.

        Exact vectors are the model's, whatever computed them. Fast ones are told apart.
        """
        exact = self._precision == "exact"
        return self._fingerprint if exact else f"{self._fingerprint}+{self._precision}"

    def load(self) -> None:
        """Load the model, once, by the first backend that can.

        Raises:
            ModelError: it cannot be found or loaded.
        """
        self._loaded()

    def unload(self) -> None:
        """Give back the memory; a call that is under way in another thread ends with the model."""
        with self._loading:
            self._model = None
        give_back_memory()

    def set_threads(self, threads: int) -> None:
        """Encode with so many threads from the next call on."""
        with self._loading:
            self._threads = threads
            self._model = None

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector of shape (dimension,) for each text.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: a vector is not finite.
        """
        if not texts:
            return []
        matrix = self._loaded().documents(texts)
        self._require_finite(matrix)
        return list(matrix)

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query; raises as :meth:`encode` does."""
        vector = self._loaded().query(text)
        self._require_finite(vector)
        return vector

    def _require_finite(self, vectors: npt.ArrayLike) -> None:
        import numpy as np  # noqa: PLC0415 - commands that do not encode should not pay for it

        if not np.isfinite(vectors).all():
            raise ValueError(f"the model {self.name} gave a vector that is not finite")

    @cached_property
    def _files(self) -> ModelFiles:
        return find(self.name)

    @cached_property
    def _fingerprint(self) -> str:
        if self._cache is None:
            return self._files.fingerprint()
        return cached_fingerprint(self._files, self._cache)

    def _loaded(self) -> LoadedModel:
        with self._loading:
            if self._model is None:
                self._model = self._load()
                self.concurrency = self._model.concurrency
                self.call_limits = self._model.call_limits
            return self._model

    def _load(self) -> LoadedModel:
        if self._backend is None:
            self._backend = next(self._backends)
        how = (self._files, self._fingerprint, self._precision, self._threads)
        while True:
            try:
                return self._backend.load(*how)
            except NotPreparedError as error:
                following = next(self._backends, None)
                if following is None:
                    raise
                self._say(f"encoding with sentence-transformers, which is slower: {error}")
                # For good: what cannot be done here is not tried at every loading.
                self._backend = following


def unit_vectors(rows: npt.ArrayLike) -> Matrix:
    """The rows as float32 of unit length, shape (texts, dimension)."""
    import numpy as np  # noqa: PLC0415 - as above

    found = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what is infinite becomes no number
        return np.asarray(found / np.maximum(lengths, 1e-12), np.float32)


def give_back_memory() -> None:
    """Give the operating system what nothing uses any more."""
    gc.collect()
    # Only glibc keeps freed memory for itself until it is told otherwise, and has this function.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

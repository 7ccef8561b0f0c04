"""The encoder on the sentence-transformers library.

The library is imported when the model is first needed, and only then: importing it takes
seconds and hundreds of megabytes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from actors.messages import Vector
from pyrite.encoders.model_files import ModelFiles, find
from pyrite.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer


class SentenceTransformerEncoder:
    """One sentence-transformers model; see :class:`pyrite.encoders.protocol.TextEncoder`."""

    def __init__(self, model: str, *, threads: int = 0) -> None:
        self._wanted = model
        self._threads = threads
        self._files: ModelFiles | None = None
        self._fingerprint: str | None = None
        self._model: SentenceTransformer | None = None
        self._loading = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._wanted

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads."""
        return self._found().window()

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text."""
        return self._found().tokenizer()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    def fingerprint(self) -> str:
        """What tells this model's embeddings from any other's; computed once."""
        if self._fingerprint is None:
            self._fingerprint = self._found().fingerprint()
        return self._fingerprint

    def load(self) -> None:
        """Import the library and load the model, once.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._loading:
            if self._model is None:
                self._model = self._load()

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector of shape (dimension,) for each text.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: a vector is not finite.
        """
        return list(self._encode(texts, query=False))

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query."""
        vector: Vector = self._encode([text], query=True)[0]
        return vector

    def _encode(self, texts: Sequence[str], *, query: bool) -> npt.NDArray[np.float32]:
        """float32, shape (texts, dimension)."""
        self.load()
        assert self._model is not None
        # Models that were trained with a prompt for each side get it here.
        encode = self._model.encode_query if query else self._model.encode_document
        vectors = encode(
            list(texts),
            batch_size=len(texts),
            show_progress_bar=False,
            normalize_embeddings=True,
            convert_to_numpy=True,
        )
        matrix = np.asarray(vectors, np.float32)
        if not np.isfinite(matrix).all():
            raise ValueError(f"the model {self.name} gave a vector that is not finite")
        return matrix

    def _found(self) -> ModelFiles:
        if self._files is None:
            self._files = find(self._wanted)
        return self._files

    def _load(self) -> SentenceTransformer:
        path = self._found().path
        try:
            import torch  # noqa: PLC0415
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415
            from transformers.utils import logging  # noqa: PLC0415

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            if self._threads:
                torch.set_num_threads(self._threads)
            return SentenceTransformer(str(path), local_files_only=True)
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"the model {self.name} cannot be loaded: {error}") from error

"""The encoder on the sentence-transformers library.

The library is imported when the model is first needed, and only then: importing it takes
seconds and hundreds of megabytes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from actors.messages import Vector
from actors.packing import BatchLimits
from pyrite.encoders.local.arithmetic import PROMISES
from pyrite.encoders.local.model_files import ModelFiles, find
from pyrite.encoders.local.sample import sample_texts
from pyrite.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer


#: What keeps a graphics processor busy.
_LARGE_CALLS = BatchLimits(texts=128, tokens=128 * 256)


class SentenceTransformerEncoder:
    """One sentence-transformers model; see :class:`pyrite.encoders.protocol.TextEncoder`."""

    def __init__(self, model: str, *, threads: int = 0) -> None:
        self._wanted = model
        self._threads = threads
        #: What the library takes when it is left to it; known once that is imported.
        self._usual_threads: int | None = None
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
        self._loaded()

    def unload(self) -> None:
        """Let go of the model; a call that is under way in another thread ends with it."""
        with self._loading:
            self._model = None

    @property
    def concurrency(self) -> int:
        """One call at a time: each uses all threads that there are."""
        return 1

    @property
    def call_limits(self) -> BatchLimits:
        """How large the calls are that encode fastest: on a graphics processor, large ones."""
        model = self._model
        return BatchLimits() if model is None or on_processor(model) else _LARGE_CALLS

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
        return list(self._encode(texts, query=False))

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query."""
        vector: Vector = self._encode([text], query=True)[0]
        return vector

    def _encode(self, texts: Sequence[str], *, query: bool) -> npt.NDArray[np.float32]:
        """float32, shape (texts, dimension)."""
        model = self._loaded()
        # Models that were trained with a prompt for each side get it here.
        encode = model.encode_query if query else model.encode_document
        matrix = unit_vectors(
            encode(
                list(texts),
                batch_size=len(texts),
                show_progress_bar=False,
                normalize_embeddings=True,
                convert_to_numpy=True,
            )
        )
        if not math.isfinite(float(matrix.sum())):
            raise ValueError(f"the model {self.name} gave a vector that is not finite")
        return matrix

    def _loaded(self) -> SentenceTransformer:
        with self._loading:
            if self._model is None:
                self._model = self._load()
            return self._model

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

            logging.disable_progress_bar()
            if self._usual_threads is None:
                self._usual_threads = torch.get_num_threads()
            threads = self._threads or self._usual_threads
            if threads != torch.get_num_threads():
                torch.set_num_threads(threads)
            model = SentenceTransformer(str(path), local_files_only=True)
            return model if on_processor(model) else halved(model)
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"the model {self.name} cannot be loaded: {error}") from error


def unit_vectors(found: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """What the library computed, as float32 of unit length, shape (texts, dimension)."""
    import numpy as np  # noqa: PLC0415 - commands that do not encode should not pay for it

    rows = np.asarray(found, np.float32)
    # With half as many bits, the library's own unit is some thousandths off.
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what is infinite becomes no number
        return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def on_processor(model: SentenceTransformer) -> bool:
    """Whether the library computes on the processor, and not on a graphics processor."""
    return str(model.device.type) == "cpu"


def halved(model: SentenceTransformer) -> SentenceTransformer:
    """The model with half as many bits, if the worst cosine of a sample of texts allows it."""
    half = deepcopy(model).half()
    texts = sample_texts(model.max_seq_length or 0)
    truth, found = (
        unit_vectors(each.encode(texts, show_progress_bar=False, convert_to_numpy=True))
        for each in (model, half)
    )
    # Not a number is no promise kept, either.
    return half if float((truth * found).sum(axis=1).min()) >= PROMISES["exact"] else model

"""The encoder on OpenVINO: the model prepared once, then neither torch nor its library needed.

The threads that encode are made by whichever thread loads the model, and inherit its niceness.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors.messages import Vector
from actors.packing import BatchLimits
from pyrite.encoders.local import sealed
from pyrite.encoders.local.arithmetic import ARITHMETICS, CONCURRENCY, Precision, threads_for
from pyrite.encoders.local.fingerprints import fingerprint
from pyrite.encoders.local.model_files import ModelFiles, find
from pyrite.encoders.native import import_openvino

if TYPE_CHECKING:
    import numpy.typing as npt
    from tokenizers import Tokenizer

    from pyrite.encoders.local.openvino_runtime import Runner
    from pyrite.encoders.local.prepare import Say


#: Texts in one call, at most: what counts is their tokens, unless they are very short.
_TEXTS = 32


class OpenVinoEncoder:
    """One prepared model; see :class:`pyrite.encoders.protocol.TextEncoder`."""

    def __init__(
        self,
        model: str,
        *,
        cache: Path,
        precision: Precision = "exact",
        threads: int = 0,
        say: Say = lambda _: None,
    ) -> None:
        self._wanted = model
        self._cache = cache
        self._precision: Precision = precision
        self._threads = threads
        self._say = say
        self._files: ModelFiles | None = None
        self._fingerprint: str | None = None
        self._runner: Runner | None = None
        self._call_limits = BatchLimits()
        self._loading = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._wanted

    @property
    def window(self) -> int:
        """How many tokens of a text the model reads."""
        return self._found().window()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._runner is not None

    def fingerprint(self) -> str:
        """What tells these embeddings from others; computed once, and remembered in the cache.

        Exact vectors are the model's, whatever computed them. Fast ones are told apart.
        """
        base = self._model_fingerprint()
        return base if self._precision == "exact" else f"{base}+{self._precision}"

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text."""
        return self._found().tokenizer()

    def load(self) -> None:
        """Load the model, once; prepare it first, if that has not been done on this machine.

        Raises:
            NotPreparedError: it cannot be prepared here.
            ModelError: it cannot be found.
        """
        self._loaded()

    def unload(self) -> None:
        """Let go of the model; a call that is under way in another thread ends with it."""
        # The runner goes with the last call that uses it, and takes the mapped weights along.
        with self._loading:
            self._runner = None

    @property
    def concurrency(self) -> int:
        """Two calls at a time: while one ends or is made into tokens, the other is computed."""
        return CONCURRENCY

    @property
    def call_limits(self) -> BatchLimits:
        """How large the calls are that were found fastest when the model was fitted."""
        return self._call_limits

    def set_threads(self, threads: int) -> None:
        """Encode with so many threads from the next call on."""
        with self._loading:
            self._threads = threads
            self._runner = None

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector of shape (dimension,) for each text.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: a vector is not finite.
        """
        if not texts:
            return []
        matrix = self._loaded().documents(texts)
        self._check(matrix)
        return list(matrix)

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query.

        Raises:
            ModelError: the model cannot be loaded.
            ValueError: the vector is not finite.
        """
        vector: Vector = self._loaded().query(text)
        self._check(vector)
        return vector

    def _check(self, vectors: npt.ArrayLike) -> None:
        import numpy as np  # noqa: PLC0415 - commands that do not encode should not pay for it

        if not np.isfinite(vectors).all():
            raise ValueError(f"the model {self.name} gave a vector that is not finite")

    def _loaded(self) -> Runner:
        with self._loading:
            if self._runner is None:
                self._runner = self._load()
            return self._runner

    def _found(self) -> ModelFiles:
        if self._files is None:
            self._files = find(self._wanted)
        return self._files

    def _model_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._found(), self._cache)
        return self._fingerprint

    def _load(self) -> Runner:
        import numpy as np  # noqa: PLC0415 - as above

        from pyrite.encoders.local.calibrate import COMPILED  # noqa: PLC0415
        from pyrite.encoders.local.openvino_runtime import DEVICE, Runner  # noqa: PLC0415
        from pyrite.encoders.local.prepare import NotPreparedError, converted, fitted, model_folder  # noqa: PLC0415

        folder = model_folder(self._cache, self._model_fingerprint())
        converted(self._found(), folder, self._say)
        threads = threads_for(self._threads)
        try:
            place, choice = fitted(self._found(), folder, self._precision, threads, self._say)
            assert choice.arithmetic is not None
            library = import_openvino()
            # Mapped, not read: the weights are the operating system's to keep or drop. The
            # library shares only what it could write to, so writing would make a private copy.
            mapped = np.memmap(place / COMPILED, np.uint8, "c")
            blob = library.Tensor(mapped, shared_memory=True)
            properties = ARITHMETICS[choice.arithmetic].properties(threads, choice.streams)
            try:
                compiled = library.Core().import_model(blob, DEVICE, properties)
            except RuntimeError:
                # Whole, and yet not what this build of the library reads.
                sealed.discard(place)
                raise
            self._call_limits = BatchLimits(_TEXTS, choice.tokens)
            return Runner(compiled, folder, choice.streams, mapped)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise NotPreparedError(
                f"OpenVINO cannot load the model {self.name}: {error}"
            ) from error

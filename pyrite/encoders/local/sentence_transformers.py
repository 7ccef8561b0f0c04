"""The sentence-transformers library as a backend, and whether it has a graphics processor.

The library is imported when the model is first needed, and only then: importing it takes
seconds and hundreds of megabytes.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from actors.packing import BatchLimits
from pyrite.encoders.local.arithmetic import LEAST_COSINE, Precision
from pyrite.encoders.local.encoder import LoadedModel, unit_vectors
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.encoders.local.sample import sample_texts
from pyrite.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from pyrite.encoders.local.encoder import Matrix

#: What keeps a graphics processor busy.
_LARGE_CALLS = BatchLimits(texts=128, tokens=128 * 256)

#: NVIDIA's driver, by the platform.
_DRIVER = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


class SentenceTransformersBackend:
    """Computes as the library does; its vectors keep the promise of either precision."""

    def __init__(self) -> None:
        #: Threads that the library takes when it is left to it; known once that is imported.
        self._usual_threads: int | None = None

    def load(
        self, files: ModelFiles, fingerprint: str, precision: Precision, threads: int
    ) -> LoadedModel:
        """Import the library and load the model.

        Raises:
            ModelError: it cannot be loaded.
        """
        del fingerprint, precision
        try:
            import torch  # noqa: PLC0415
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415
            from transformers.utils import logging  # noqa: PLC0415

            logging.disable_progress_bar()
            if self._usual_threads is None:
                self._usual_threads = torch.get_num_threads()
            threads = threads or self._usual_threads
            if threads != torch.get_num_threads():
                torch.set_num_threads(threads)
            model = SentenceTransformer(str(files.path), local_files_only=True)
            return loaded(model if on_processor(model) else halved(model))
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"the model {files.name} cannot be loaded: {error}") from error


def loaded(model: SentenceTransformer) -> LoadedModel:
    """The library's model as an encoder uses it."""
    # Models that were trained with a prompt for each side get it here.
    documents = partial(_encode, model.encode_document)
    query = partial(_encode, model.encode_query)
    # One call at a time: each uses all threads that there are.
    limits = BatchLimits() if on_processor(model) else _LARGE_CALLS
    return LoadedModel(documents, lambda text: query([text])[0], 1, limits)


def _encode(encode: Callable[..., Any], texts: Sequence[str]) -> Matrix:
    """float32, shape (texts, dimension), unit length."""
    rows = encode(
        list(texts),
        batch_size=len(texts),
        show_progress_bar=False,
        normalize_embeddings=True,
        convert_to_numpy=True,
    )
    # With half as many bits, the library's own unit is some thousandths off.
    return unit_vectors(rows)


@cache
def cuda_at_hand() -> bool:
    """Whether NVIDIA's driver sees a device that the installed torch could use; imports nothing."""
    try:
        if "+cpu" in version("torch"):
            return False
        driver = ctypes.CDLL(_DRIVER[sys.platform])
        count = ctypes.c_int()
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (KeyError, OSError, AttributeError, PackageNotFoundError):
        return False
    return found and count.value > 0


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
    return half if float((truth * found).sum(axis=1).min()) >= LEAST_COSINE["exact"] else model

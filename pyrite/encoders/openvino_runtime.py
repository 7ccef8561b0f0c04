"""A model that runs on OpenVINO."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrite.encoders.model_files import read_tokenizer
from pyrite.native import import_openvino

if TYPE_CHECKING:
    import numpy.typing as npt
    from tokenizers import Encoding

    Matrix = npt.NDArray[np.float32]

DEVICE = "CPU"
META = "meta.json"
TOKENIZER = "tokenizer.json"

#: Texts in one batch, and texts times tokens of the longest, at most. Larger batches fall out of
#: the processor's caches.
_TEXTS = 8
_TOKENS = 2048

#: Batches that each stream gets of one call, at least, so that all end at about the same time.
_TURNS = 2

#: A batch of no more tokens than this is not divided further: starting one costs as much.
_FEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class ModelMeta:
    """What must be known of a converted model besides its graph."""

    #: Tokens of a text that the model reads, its special ones included.
    window: int
    #: The names of the graph's inputs, in order.
    inputs: tuple[str, ...]
    pad_id: int
    #: Put before each text, and before each query.
    document_prompt: str
    query_prompt: str

    def write(self, folder: Path) -> None:
        """Keep it beside the graph."""
        (folder / META).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelMeta:
        """What :meth:`write` kept."""
        known = json.loads((folder / META).read_text(encoding="utf-8"))
        return cls(**{**known, "inputs": tuple(known["inputs"])})


def batches(lengths: Sequence[int], streams: int) -> list[list[int]]:
    """Indices of texts with these lengths in tokens, in batches of like lengths, longest first."""
    share = min(_TEXTS, -(-len(lengths) // streams))
    size = max(1, min(_TEXTS, len(lengths) // (_TURNS * streams)))
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        batch = made[-1] if made else []
        tokens = (len(batch) + 1) * lengths[batch[0] if batch else index]
        fits = len(batch) < size and tokens <= _TOKENS
        if batch and (fits or (len(batch) < share and tokens <= _FEW_TOKENS)):
            batch.append(index)
        else:
            made.append([index])
    return made


class Runner:
    """A compiled model with its tokenizer; texts may come from several threads at once.

    ``weights`` is the memory that the compiled model uses without owning it; what uses it goes
    first when the runner does.
    """

    def __init__(self, compiled: Any, folder: Path, streams: int, weights: Any = None) -> None:
        self._meta = ModelMeta.read(folder)
        self._tokenizer = read_tokenizer(folder / TOKENIZER)
        self._tokenizer.enable_truncation(max_length=self._meta.window)
        self._streams = streams
        self._queue = import_openvino().AsyncInferQueue(compiled, streams)
        # A query has a request of its own: it waits for one batch of a long call, not for all.
        self._request = compiled.create_infer_request()
        self._bulk = threading.Lock()
        self._single = threading.Lock()
        self._weights = weights

    def documents(self, texts: Sequence[str]) -> Matrix:
        """float32, shape (texts, dimension), unit length."""
        prompt = self._meta.document_prompt
        encodings = [self._tokenizer.encode(prompt + text) for text in texts]
        rows: dict[int, Matrix] = {}

        def keep(request: Any, batch: list[int]) -> None:
            # Copied: the next batch is computed in the same memory.
            rows.update(zip(batch, request.get_output_tensor(0).data.copy(), strict=True))

        with self._bulk:
            self._queue.set_callback(keep)
            for batch in batches([len(each.ids) for each in encodings], self._streams):
                self._queue.start_async(self._features([encodings[i] for i in batch]), batch)
            self._queue.wait_all()
        return _unit(np.stack([rows[index] for index in range(len(texts))]))

    def query(self, text: str) -> Matrix:
        """float32, shape (dimension,), unit length."""
        encoding = self._tokenizer.encode(self._meta.query_prompt + text)
        with self._single:
            self._request.infer(self._features([encoding]))
            row = self._request.get_output_tensor(0).data.copy()
        vector: Matrix = _unit(row)[0]
        return vector

    def _features(self, encodings: Sequence[Encoding]) -> dict[str, npt.NDArray[np.int64]]:
        """The graph's inputs: int64, shape (texts, tokens of the longest)."""
        longest = max(len(each.ids) for each in encodings)
        shape = (len(encodings), longest)
        features = {name: np.zeros(shape, np.int64) for name in self._meta.inputs}
        features["input_ids"].fill(self._meta.pad_id)
        for row, each in enumerate(encodings):
            values = {
                "input_ids": each.ids,
                "attention_mask": each.attention_mask,
                "token_type_ids": each.type_ids,
            }
            for name in self._meta.inputs:
                features[name][row, : len(each.ids)] = values[name]
        return features


def _unit(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)
    return scaled

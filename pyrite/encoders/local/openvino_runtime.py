"""A model that runs on OpenVINO."""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrite.encoders.local.encoder import unit_vectors
from pyrite.encoders.local.model_files import read_tokenizer

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

#: Batches that each stream has before it, all calls together: one that it computes, and one that
#: it finds when it is done.
_AHEAD = 2

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
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(_AHEAD * streams):
            self._free.put(compiled.create_infer_request())
        # A query has a request of its own: it waits for the batches that have begun, not for all.
        self._request = compiled.create_infer_request()
        self._single = threading.Lock()
        self._weights = weights

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of each text the model reads."""
        return [len(encoding.ids) for encoding in self._encode(texts)]

    def documents(self, texts: Sequence[str]) -> Matrix:
        """float32, shape (texts, dimension), unit length."""
        encodings = self._encode(texts)
        call = _Call(self._free)
        try:
            for batch in batches([len(each.ids) for each in encodings], self._streams):
                call.start(self._features([encodings[i] for i in batch]), batch)
            call.finish()
        finally:
            call.close()
        return unit_vectors(np.stack([call.rows[index] for index in range(len(texts))]))

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        prompt = self._meta.document_prompt
        return [self._tokenizer.encode(prompt + text) for text in texts]

    def query(self, text: str) -> Matrix:
        """float32, shape (dimension,), unit length."""
        encoding = self._tokenizer.encode(self._meta.query_prompt + text)
        with self._single:
            self._request.infer(self._features([encoding]))
            row = self._request.get_output_tensor(0).data.copy()
        vector: Matrix = unit_vectors(row)[0]
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


class _Call:
    """The batches of one call that are under way, each in a request of those that all calls share.

    Attributes:
        rows: what has been computed: float32, shape (dimension,), by the text's index.
    """

    def __init__(self, free: queue.SimpleQueue[Any]) -> None:
        self.rows: dict[int, Matrix] = {}
        self._free = free
        self._under_way: deque[tuple[Any, list[int]]] = deque()

    def start(self, features: dict[str, npt.NDArray[np.int64]], batch: list[int]) -> None:
        """Begin a batch, after the oldest if all requests are taken."""
        try:
            request = self._free.get_nowait()
        except queue.Empty:
            # Of its own, if it has any: two calls that waited for each other would never end.
            request = self._take_oldest() if self._under_way else self._free.get()
        request.start_async(features)
        self._under_way.append((request, batch))

    def finish(self) -> None:
        """Wait for all batches."""
        while self._under_way:
            self._free.put(self._take_oldest())

    def close(self) -> None:
        """Give back the requests, also of batches that nobody needs any more."""
        while self._under_way:
            request, _ = self._under_way.popleft()
            with suppress(RuntimeError):
                request.wait()
            self._free.put(request)

    def _take_oldest(self) -> Any:
        """Wait for the oldest batch, keep its rows, and return its request."""
        request, batch = self._under_way[0]
        request.wait()
        # Copied: the next batch is computed in the same memory.
        self.rows.update(zip(batch, request.get_output_tensor(0).data.copy(), strict=True))
        self._under_way.popleft()
        return request

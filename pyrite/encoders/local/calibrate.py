"""A program that chooses, on this machine, how to compute a converted model.

It is a process of its own, because it compiles the model several times over. It leaves the
choice with its numbers, and the model compiled for this processor, which loads in half the time.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from actors.packing import BatchLimits
from pyrite.encoders.local.arithmetic import (
    CONCURRENCY,
    LEAST_COSINE,
    Arithmetic,
    Precision,
    candidates,
    stream_counts,
)
from pyrite.encoders.local.convert import GRAPH, REFERENCE, SAMPLE
from pyrite.encoders.local.openvino_runtime import DEVICE, Runner
from pyrite.encoders.native import import_openvino

if TYPE_CHECKING:
    import numpy.typing as npt

CHOICE = "choice.json"
COMPILED = "compiled.blob"

_LARGEST_INT8 = 127

#: Texts in each timed call, and calls of each way of computing.
_CALL = 8
_ROUNDS = 2

#: How many texts of middle length to try in one call, and in how many they are encoded. More
#: keep all streams busy for longer; fewer let an edit wait less.
_CALLS = (4, 8, 16)
_TEXTS = CONCURRENCY * max(_CALLS)

#: Of the calls that let an edit wait no longer than this, in seconds, the smallest that reaches
#: this share of the best rate is taken; the smallest of all where none does.
_WAIT_S = 0.3
_NEARLY = 0.95


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest way that keeps the promise, if one does."""

    arithmetic: str | None = None
    threads: int = 0
    streams: int = 0
    #: Tokens in one call, those that fill up shorter texts included.
    tokens: int = BatchLimits().tokens
    #: The least cosine to float32 of each way tried.
    cosines: dict[str, float] = field(default_factory=dict)
    #: Texts a second of each way that keeps the promise, in the fastest call.
    rates: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Choice:
        """What :func:`calibrate` left."""
        return cls(**json.loads((folder / CHOICE).read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        """Keep it in the folder."""
        (folder / CHOICE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Candidate:
    arithmetic: Arithmetic
    streams: int
    compiled: Any
    runner: Runner

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.arithmetic.name}, streams: {self.streams}"


def calibrate(model: Path, folder: Path, precision: Precision, threads: int) -> None:
    """Leave in the folder the choice for the converted model, and the compiled model."""
    core = import_openvino().Core()
    texts = json.loads((model / SAMPLE).read_text(encoding="utf-8"))
    reference = np.load(model / REFERENCE)
    cosines: dict[str, float] = {}
    ways: list[_Candidate] = []
    for arithmetic in candidates(precision, core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")):
        made = [_compile(core, model, arithmetic, threads, n) for n in stream_counts(threads)]
        cosines[arithmetic.name] = least_cosine(made[-1].runner.documents(texts), reference)
        if cosines[arithmetic.name] >= LEAST_COSINE[precision]:
            ways.extend(made)
    if not ways:
        Choice(cosines=cosines).write(folder)
        return
    took = _time(ways, _medium_texts(texts))
    best = min(ways, key=lambda way: took[way.label])
    (folder / COMPILED).write_bytes(best.compiled.export_model().getvalue())
    rates = {label: round(_CALL / seconds, 1) for label, seconds in took.items()}
    tokens = _best_call(best.runner, _medium_texts(texts))
    Choice(best.arithmetic.name, threads, best.streams, tokens, cosines, rates).write(folder)


def least_cosine(vectors: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]) -> float:
    """The worst text's cosine; both of shape (texts, dimension), unit length. NaN counts as -1."""
    least = float(np.einsum("td,td->t", vectors.astype(np.float64), reference).min())
    return least if np.isfinite(least) else -1.0


def _compile(
    core: Any, model: Path, arithmetic: Arithmetic, threads: int, streams: int
) -> _Candidate:
    graph = core.read_model(model / GRAPH)
    if arithmetic.int8:
        graph = quantize_weights(graph)
    compiled = core.compile_model(graph, DEVICE, arithmetic.properties(threads, streams))
    return _Candidate(arithmetic, streams, compiled, Runner(compiled, model, streams))


def quantize_weights(model: Any) -> Any:
    """An OpenVINO graph with eight-bit weights: every constant matrix that is multiplied by.

    Changed in place. Each column of outputs of a matrix gets one scale, the largest weight's size
    over 127; OpenVINO knows the pattern *whole numbers, converted, times scale* and multiplies it
    with activations that it makes eight-bit as it goes. That needs neither calibration data nor
    another library, and is more exact than quantizing after training with one: cosine 0.996 and
    more, against 0.990.
    """
    library = import_openvino()
    build = library.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weights = _constant(node.input_value(1).get_node())
        if weights is None:
            continue
        axis = -1 if node.get_attributes()["transpose_b"] else -2
        scales = np.abs(weights).max(axis=axis, keepdims=True) / _LARGEST_INT8
        scales[scales == 0] = 1
        rounded = np.round(weights / scales).astype(np.int8)
        again = build.multiply(
            build.convert(build.constant(rounded, library.Type.i8), "f32"),
            build.constant(scales.astype(np.float32)),
        )
        node.input(1).replace_source_output(again.output(0))
    return model


def _constant(node: Any) -> Any:
    """The matrix that a node stands for, as float32, or None where it is computed."""
    if node.get_type_name() == "Convert":
        # Stored in half precision.
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    data = np.asarray(node.data)
    return data.astype(np.float32) if data.ndim == 2 and data.dtype.kind == "f" else None  # noqa: PLR2004


def _medium_texts(texts: Sequence[str]) -> list[str]:
    """As many texts as are in a call, of middle length."""
    longest_first = sorted((text for text in texts if text.isascii()), key=len, reverse=True)
    return longest_first[2 : 2 + _CALL]


def _time(ways: Sequence[_Candidate], texts: Sequence[str]) -> dict[str, float]:
    """Seconds of each way's fastest call; the ways take turns."""
    took: dict[str, float] = {}
    for round_ in range(1 + _ROUNDS):
        for way in ways:
            started = time.perf_counter()
            way.runner.documents(texts)
            seconds = time.perf_counter() - started
            # The first call also makes what later ones use again.
            if round_:
                took[way.label] = min(seconds, took.get(way.label, seconds))
    return took


def _best_call(runner: Runner, texts: Sequence[str]) -> int:
    """Tokens of the smallest call by which texts are encoded nearly as fast as by any.

    As the pipeline calls: so many calls at a time as do well.
    """
    some = list(islice(cycle(texts), _TEXTS))
    took: dict[int, float] = {}
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        for _ in range(_ROUNDS):
            for size in _CALLS:
                calls = [some[first : first + size] for first in range(0, len(some), size)]
                started = time.perf_counter()
                list(threads.map(runner.documents, calls))
                took[size] = min(time.perf_counter() - started, took.get(size, math.inf))
    return _choose(took) * max(runner.lengths(texts))


def _choose(took: Mapping[int, float]) -> int:
    """The size of calls to make, given the seconds in which all texts were encoded by each."""
    # Of the calls side by side, one ends every so often.
    soon = {size: all_s for size, all_s in took.items() if all_s * size / _TEXTS <= _WAIT_S}
    if not soon:
        return min(took)
    fastest = min(soon.values())
    return min(size for size, all_s in soon.items() if fastest >= _NEARLY * all_s)


def main(model: str, folder: str, precision: str, threads: str) -> None:
    """Calibrate, with the program's arguments."""
    calibrate(Path(model), Path(folder), cast("Precision", precision), int(threads))


if __name__ == "__main__":
    main(*sys.argv[1:])

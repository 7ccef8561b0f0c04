"""Inference precisions: number formats to compute with, and the accuracy that each must keep.

Thirty-two-bit floats are the truth. Sixteen-bit ones are weighed only where the processor
computes with them natively: emulated, they are slower and no better. Eight-bit whole numbers
break the promise that vectors of one model may be compared with one another unseen, and are
weighed only where the user asks for speed.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Precision = Literal["exact", "fast"]

#: The least cosine to the float32 vector that any text may have.
LEAST_COSINE: dict[Precision, float] = {"exact": 0.9999, "fast": 0.99}

#: Numbers that share one scale when activations become eight-bit. The least cosine of the sample
#: was 0.9945 for 32 and 64, 0.991 for 128 and 0.981 for 384, at much the same speed from 64 on.
_GROUP = 64


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """One way to compute."""

    name: str
    #: Weights as eight-bit whole numbers, activations too while they are multiplied.
    int8: bool = False
    #: OpenVINO's name of the type that everything else is computed in.
    float_type: str = "f32"
    #: What OpenVINO must say that the processor can do natively.
    capability: str = "FP32"

    def properties(self, threads: int, streams: int) -> dict[str, str]:
        """What OpenVINO is told when it compiles or imports the model."""
        return {
            "INFERENCE_PRECISION_HINT": self.float_type,
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": str(streams),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(_GROUP if self.int8 else 0),
            # Two processes with threads pinned to the same cores would wait for each other.
            "ENABLE_CPU_PINNING": "NO",
        }


FLOAT32 = Arithmetic("float32")
_EXACT = (
    FLOAT32,
    Arithmetic("bfloat16", float_type="bf16", capability="BF16"),
    Arithmetic("float16", float_type="f16", capability="FP16"),
)
_FAST = (
    Arithmetic("int8", int8=True, capability="INT8"),
    Arithmetic("int8 and bfloat16", int8=True, float_type="bf16", capability="BF16"),
)
ARITHMETICS = {each.name: each for each in (*_EXACT, *_FAST)}


def candidates(precision: Precision, capabilities: Collection[str]) -> list[Arithmetic]:
    """What to try on a processor with these capabilities, float32 first."""
    wanted = (*_EXACT, *_FAST) if precision == "fast" else _EXACT
    return [each for each in wanted if each.capability in capabilities or each is FLOAT32]


#: Calls of the encoder that do well at a time: while one ends, or is made into tokens, the other
#: keeps the streams busy.
CONCURRENCY = 2


def stream_counts(threads: int) -> list[int]:
    """How many texts or batches at once to try: one, one for four threads, one for each.

    A stream is a batch under way with threads of its own; a call's batches cannot keep more
    than eight busy.
    """
    return sorted({1, max(1, threads // 4), min(threads, 8)})


def threads_for(setting: int) -> int:
    """The setting, or one thread for each processor that this process may use."""
    if setting:
        return setting
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

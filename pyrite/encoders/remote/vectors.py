"""Reading the vectors out of a server's answer.

OpenAI's form is ``{"data": [{"index": 0, "embedding": [...]}, ...]}``. Servers differ in what
they make of it: the order need not be that of the texts, the vectors need not be of unit length,
some come as base64 whatever was asked for, and llama.cpp may put a vector into a list of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.messages import Vector
from pyrite.encoders.remote.failures import Failure, Kind


def vectors_in(body: bytes, count: int) -> list[Vector]:
    """One unit-length float32 vector of shape (dimension,) for each text, in the texts' order.

    Args:
        body: the answer.
        count: how many texts were sent.

    Raises:
        Failure: FINAL where the answer is none; REFUSED where a vector has no direction, as some
            models' have of some texts.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _nonsense("gives an answer that is not JSON") from None
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _nonsense("gives an answer without embeddings in it")
    if len(rows) != count:
        raise _nonsense(f"gives {len(rows)} vectors for {count} texts")
    found = [_unit(_numbers(row.get("embedding"))) for row in _in_order(rows)]
    if len({len(vector) for vector in found}) > 1:
        raise _nonsense("gives vectors of different lengths in one answer")
    return found


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of their numbers, or as they are where none has one."""
    numbers = [row.get("index") for row in rows]
    if all(number is None for number in numbers):
        return rows
    by_number = {number: row for number, row in zip(numbers, rows, strict=True) if _whole(number)}
    if by_number.keys() != set(range(len(rows))):
        raise _nonsense("gives vectors that are numbered wrongly")
    return [by_number[number] for number in range(len(rows))]


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _numbers(given: object) -> npt.NDArray[np.float64]:
    """What stands for one embedding, as numbers, shape (dimension,)."""
    try:
        if isinstance(given, str):
            return np.frombuffer(base64.b64decode(given, validate=True), "<f4").astype(np.float64)
        found = np.asarray(given, np.float64)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise _nonsense("gives an embedding that is not a list of numbers") from None
    if found.ndim == 2 and len(found) == 1:  # noqa: PLR2004
        found = found[0]
    if found.ndim == 2:  # noqa: PLR2004
        raise _nonsense(
            "gives a vector for each token instead of one for each text; start it with a pooling"
        )
    if found.ndim != 1:
        raise _nonsense("gives an embedding that is not a list of numbers")
    return found


def _unit(numbers: npt.NDArray[np.float64]) -> Vector:
    if not len(numbers):
        raise _nonsense("gives an empty vector")
    # Divided by the largest first: the squares of very large numbers would not be finite.
    largest = np.abs(numbers).max()
    if not np.isfinite(largest) or largest == 0:
        raise Failure(Kind.REFUSED, "gives a vector that is not finite, or has no direction")
    scaled = numbers / largest
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)


def _nonsense(reason: str) -> Failure:
    return Failure(Kind.FINAL, f"{reason}; is it an OpenAI-compatible embedding server?")

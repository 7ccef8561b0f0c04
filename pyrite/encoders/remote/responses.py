"""Answers of an embedding server: the vectors in them, or what went wrong. Pure.

Whose fault a failure is decides what happens to the entries that wait, and the status alone does
not always say. llama.cpp answers 500 to a text that is too long, as others do to a fault of their
own, and a server that does not know the model may answer 400 to every text. So a kind says only
what is known from the answer; who asked may ask for something else to see whether that works.

OpenAI's form is ``{"data": [{"index": 0, "embedding": [...]}, ...]}``. Servers differ in what
they make of it: the order need not be that of the texts, the vectors need not be of unit length,
some come as base64 whatever was asked for, and llama.cpp may put a vector into a list of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from actors.messages import Vector
from pyrite.config.loading import HIDDEN

#: How much of what a server says is passed on, in characters.
_LONGEST_MESSAGE = 200

#: A server's wish to be left alone is followed this far, in seconds.
LONGEST_RETRY_AFTER_S = 300.0


class FailureKind(Enum):
    """What is known of a failure from itself."""

    #: The request was understood, and refused for what it asks.
    REFUSED = "refused"
    #: May well be over the next time: no connection, no answer in time, an error of the server's.
    TRANSIENT = "transient"
    #: The server has too much to do, and says so.
    BUSY = "busy"
    #: Will be the same the next time, for every text: the key, the address, the model.
    PERMANENT = "permanent"


class Failure(Exception):  # noqa: N818 - becomes an error once it is known whose
    """A request that failed.

    Attributes:
        kind: what is known of it.
        reason: completes "the embedding server"; holds neither a key nor what could be one.
        retry_after_s: for how long the server wants to be left alone; 0 where it does not say.
    """

    def __init__(self, kind: FailureKind, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, as far as it decides what follows."""

    status: int
    body: bytes
    #: The headers of these names; empty where there are none.
    retry_after: str = ""
    location: str = ""


_KINDS = {
    400: FailureKind.REFUSED,
    413: FailureKind.REFUSED,
    422: FailureKind.REFUSED,
    408: FailureKind.TRANSIENT,
    # text-embeddings-inference says this of a failed inference.
    424: FailureKind.TRANSIENT,
    425: FailureKind.TRANSIENT,
    429: FailureKind.BUSY,
    501: FailureKind.PERMANENT,
    503: FailureKind.BUSY,
    529: FailureKind.BUSY,
}


def failure_of(answer: Answer, *, model: str, key: str, now: float) -> Failure | None:
    """What is wrong with an answer by its status, or None.

    Args:
        answer: the server's.
        model: the name that was sent.
        key: the key that was sent, if one was; it is kept out of what is said.
        now: the time since the epoch.
    """
    status = answer.status
    if status == HTTPStatus.OK:
        return None
    kind = _KINDS.get(status, FailureKind.TRANSIENT if status >= 500 else FailureKind.PERMANENT)  # noqa: PLR2004
    number = f"({status})"
    # A refusal of a key may quote it, in part and in another form: nothing of it is passed on.
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        what = "does not accept the key" if key else "wants a key"
        reason = f"{what} {number}; see the settings `remote_key` and `remote_key_file`"
    elif status == HTTPStatus.NOT_FOUND:
        reason = (
            f"has no embeddings at this address, or does not know the model {model} {number}; "
            f"see the settings `remote_url` and `model`{_server_message(answer.body, key)}"
        )
    elif 300 <= status < 400:  # noqa: PLR2004
        reason = (
            f"sends us on{_redirect_target(answer.location, key)} {number}, where the key is not "
            "sent; set `remote_url` to the address itself"
        )
    else:
        reason = f"answers {_status_line(status)}{_server_message(answer.body, key)}"
    return Failure(kind, reason, parse_retry_after(answer.retry_after, now))


def parse_retry_after(retry_after: str, now: float) -> float:
    """Seconds for which a ``Retry-After`` asks, within bounds; 0 where it cannot be read.

    RFC 9110, 10.2.3: whole seconds, or a date.
    """
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        wanted = float(text)
    else:
        try:
            wanted = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(wanted, 0.0), LONGEST_RETRY_AFTER_S)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is tried before it has failed; the wait between two tries doubles."""

    tries: int = 4
    base_s: float = 0.5
    cap_s: float = 8.0
    #: Whether somebody waits for the answer.
    interactive: bool = False

    def wait(self, failure: Failure, tried: int, left_s: float) -> float | None:
        """Seconds until the next try; None to give up.

        Args:
            failure: the last.
            tried: how many tries there have been.
            left_s: how much time there is, waiting included.
        """
        if failure.kind not in {FailureKind.TRANSIENT, FailureKind.BUSY} or tried >= self.tries:
            return None
        wait = max(failure.retry_after_s, min(self.cap_s, self.base_s * 2.0 ** (tried - 1)))
        return wait if wait < left_s else None


def plain(text: str, key: str = "") -> str:
    """A text from elsewhere as one short line without the key, or what could steer a terminal."""
    # Before it is cut: of a part, nobody could tell that it is the key's.
    text = re.sub(re.escape(key), HIDDEN, text, flags=re.IGNORECASE) if key else text
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[: _LONGEST_MESSAGE - 1]}…"


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _server_message(body: bytes, key: str) -> str:
    """The server's own words, after a colon; each server puts them somewhere else."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = "" if text.lstrip().startswith("<") else text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    line = plain(found, key) if isinstance(found, str) else ""
    return f": {line}" if line else ""


def _redirect_target(location: str, key: str) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return f" to {plain(host, key)}" if host else " to another address"


def vectors_in(body: bytes, count: int) -> list[Vector]:
    """One unit-length float32 vector of shape (dimension,) for each text, in the texts' order.

    Args:
        body: the answer.
        count: how many texts were sent.

    Raises:
        Failure: PERMANENT where the answer is none; REFUSED where a vector has no direction, as
            some models' have of some texts.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _malformed("gives an answer that is not JSON") from None
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _malformed("gives an answer without embeddings in it")
    if len(rows) != count:
        raise _malformed(f"gives {len(rows)} vectors for {count} texts")
    found = [_unit(_numbers(row.get("embedding"))) for row in _in_order(rows)]
    if len({len(vector) for vector in found}) > 1:
        raise _malformed("gives vectors of different lengths in one answer")
    return found


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of their numbers, or as they are where none has one."""
    numbers = [row.get("index") for row in rows]
    if all(number is None for number in numbers):
        return rows
    # Compared with their types: to Python, true is 1.
    if any(type(number) is not int for number in numbers) or set(numbers) != set(range(len(rows))):
        raise _malformed("gives vectors that are numbered wrongly")
    return sorted(rows, key=lambda row: int(row["index"]))


def _numbers(given: object) -> npt.NDArray[np.float64]:
    """What stands for one embedding, as numbers, shape (dimension,)."""
    try:
        if isinstance(given, str):
            return np.frombuffer(base64.b64decode(given, validate=True), "<f4").astype(np.float64)
        found = np.asarray(given, np.float64)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        found = np.empty(())
    if found.ndim == 2:  # noqa: PLR2004
        if len(found) != 1:
            raise _malformed(
                "gives a vector for each token instead of one for each text; start it with a "
                "pooling"
            )
        found = found[0]
    if found.ndim != 1:
        raise _malformed("gives an embedding that is not a list of numbers")
    return found


def _unit(numbers: npt.NDArray[np.float64]) -> Vector:
    if not len(numbers):
        raise _malformed("gives an empty vector")
    # Divided by the largest first: the squares of very large numbers would not be finite.
    largest = np.abs(numbers).max()
    if not np.isfinite(largest) or largest == 0:
        raise Failure(FailureKind.REFUSED, "gives a vector that is not finite, or has no direction")
    scaled = numbers / largest
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)


def _malformed(reason: str) -> Failure:
    return Failure(FailureKind.PERMANENT, f"{reason}; is it an OpenAI-compatible embedding server?")

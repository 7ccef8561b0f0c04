"""The vectors of many texts: sent in parts, tried again, and in halves where that is too many."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.messages import Vector
from actors.ports import RefusedTextError
from pyrite.config.settings import Settings
from pyrite.encoders.remote.client import Client, Request, Timing
from pyrite.encoders.remote.responses import (
    Failure,
    FailureKind,
    RetryPolicy,
    failure_of,
    vectors_in,
)


class TextFailedError(Exception):
    """The server fails at this text, alone and again, and not at another; it may yet succeed."""


class _GivenUpError(Exception):
    """Another request of the same call has failed; this one's answer is of no use."""


@dataclass(eq=False)
class EmbeddingCall:
    """The requests of one call of the encoder."""

    client: Client
    settings: Settings
    key: str = field(repr=False)
    policy: RetryPolicy
    timing: Timing
    #: Texts in one request, at most; less than before where the server wanted that.
    batch: int
    #: What vectors must have, once that is known.
    dimension: int | None
    #: Of what the threads of this call find out.
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _under_way: set[Request] = field(default_factory=set, init=False)
    _given_up: threading.Event = field(default_factory=threading.Event, init=False)

    @property
    def _timeout_s(self) -> float:
        """For one request, and for all tries of it together."""
        if self.policy.interactive:
            return self.settings.remote_query_timeout_s
        return self.settings.remote_timeout_s

    @property
    def _probe(self) -> str:
        """A text that every model can encode."""
        return f"{self.settings.remote_document_prefix}probe"

    def probe(self) -> None:
        """See that the server encodes anything; raises Failure where it does not."""
        self._with_retries([self._probe])

    def query(self, text: str) -> Vector:
        """The vector of one text; raises Failure, whoever is at fault."""
        return self._with_retries([text])[0]

    def documents(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of all texts, several requests at a time.

        Raises:
            Failure: the server's fault.
            RefusedTextError: one text is refused.
            TextFailedError: the server fails at one text.
        """
        parts = [texts[start : start + self.batch] for start in range(0, len(texts), self.batch)]
        found: list[list[Vector]] = [[] for _ in parts]
        errors: list[BaseException] = []
        # The threads share it: each takes what is next.
        numbers = iter(range(len(parts)))

        def work() -> None:
            try:
                for number in numbers:
                    found[number] = self._part(parts[number])
            except BaseException as error:  # noqa: BLE001 - raised again by the calling thread
                # The first is the one that counts; what else is under way is given up.
                errors.append(error)
                self._give_up()

        # Not an executor's threads, which would keep the process from ending.
        threads = [
            threading.Thread(target=work, name="embedding request", daemon=True)
            for _ in range(min(self.settings.remote_concurrency, len(parts)) - 1)
        ]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [vector for part in found for vector in part]

    def _give_up(self) -> None:
        self._given_up.set()
        for request in self._under_way.copy():
            request.cancel()

    def _part(self, texts: Sequence[str], *, again: bool = False) -> list[Vector]:
        """The vectors of one request's texts; in halves where they cannot be had at once.

        ``again`` is for halves: the server was alive a moment ago, so one try is enough.
        """
        try:
            return self._once(texts) if again else self._with_retries(texts)
        except Failure as failure:
            if failure.kind in {FailureKind.BUSY, FailureKind.PERMANENT}:
                raise
            if failure.kind is FailureKind.TRANSIENT:
                self._require_alive(failure)
            if len(texts) == 1:
                return self._single(texts, failure)
        middle = (len(texts) + 1) // 2
        found = self._part(texts[:middle], again=True)
        found += self._part(texts[middle:], again=True)
        with self._lock:
            # It was not a text but their number, or their size together.
            self.batch = min(self.batch, middle)
        return found

    def _single(self, texts: Sequence[str], failure: Failure) -> list[Vector]:
        """The vector of a text that failed by itself, if it does not fail again."""
        if failure.kind is FailureKind.REFUSED:
            self._require_alive(failure)
            raise RefusedTextError(f"the embedding server {failure.reason}")
        # The server is alive, and may not have been until now.
        try:
            return self._once(texts)
        except Failure as again:
            if again.kind in {FailureKind.BUSY, FailureKind.PERMANENT}:
                raise
            raise TextFailedError(f"the embedding server {again.reason}") from None

    def _require_alive(self, failure: Failure) -> None:
        """Raise what happened as the server's fault, unless it encodes something else."""
        try:
            self._once([self._probe], self.settings.remote_query_timeout_s)
        except Failure as other:
            if other.kind is FailureKind.BUSY:
                raise
            raise Failure(FailureKind.PERMANENT, failure.reason) from None

    def _with_retries(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of one request's texts, tried as often as is worth it."""
        ends = self.timing.clock() + self._timeout_s
        tried = 0
        while True:
            try:
                return self._once(texts, ends - self.timing.clock())
            except Failure as failure:
                tried += 1
                wait = self.policy.wait(failure, tried, ends - self.timing.clock())
                if wait is None:
                    raise
                self.timing.wait(self._given_up, wait)
                # A wait may be longer than it was to be.
                if self.timing.clock() >= ends:
                    raise

    def _once(self, texts: Sequence[str], timeout_s: float | None = None) -> list[Vector]:
        """The vectors of one request's texts."""
        model = self.settings.model
        body = {"model": model, "input": list(texts), "encoding_format": "float"}
        # As ASCII: a lone half of a character beyond the first 65,536 cannot be sent as UTF-8.
        content = json.dumps(body).encode()
        request = Request(content, self._timeout_s if timeout_s is None else timeout_s, self.key)
        self._under_way.add(request)
        try:
            # Looked at after the request can be found, so that none is overlooked.
            if self._given_up.is_set():
                raise _GivenUpError
            answer = self.client.post(request)
        finally:
            self._under_way.discard(request)
        failure = failure_of(answer, model=model, key=self.key, now=self.timing.now())
        if failure is not None:
            raise failure
        vectors = vectors_in(answer.body, len(texts))
        self._require_dimension(len(vectors[0]))
        return vectors

    def _require_dimension(self, found: int) -> None:
        with self._lock:
            if self.dimension is None:
                self.dimension = found
        if self.dimension != found:
            raise Failure(
                FailureKind.PERMANENT,
                f"gives vectors of {found} numbers, and those that there are have "
                f"{self.dimension}: it serves another model as {self.settings.model}. Go back "
                "to the former one, or give `remote_revision` another value to encode everything "
                "anew",
            )

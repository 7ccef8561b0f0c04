"""Asking an embedding server for the vectors of many texts: in parts, again, and in halves.

Everything here runs on the session's Trio thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from actors.messages import Vector
from actors.ports import RefusedTextError
from pyrite.encoders.remote.failures import Failure, Kind, Persistence, judged
from pyrite.encoders.remote.options import Outside, RemoteOptions
from pyrite.encoders.remote.session import Question, Session
from pyrite.encoders.remote.vectors import vectors_in


class TextFailedError(Exception):
    """The server fails at this text, alone and again, and not at another; it may yet succeed."""


@dataclass(frozen=True, slots=True)
class ResponseDescription:
    """What holds for all requests of one call."""

    options: RemoteOptions
    key: str = field(repr=False)
    persistence: Persistence
    #: What vectors must have, if that is known.
    dimension: int | None

    @property
    def timeout_s(self) -> float:
        """For one request, and for all tries of it together."""
        options = self.options
        return options.query_timeout_s if self.persistence.hurry else options.timeout_s

    @property
    def probe(self) -> str:
        """A text that every model can encode."""
        return f"{self.options.document_prefix}probe"


class Asking:
    """One call's requests.

    Attributes:
        batch: texts in one request, at most; less than before where the server wanted that.
        dimension: of the vectors, once one has come.
    """

    def __init__(
        self, session: Session, told: ResponseDescription, outside: Outside, batch: int
    ) -> None:
        self._session = session
        self._told = told
        self._outside = outside
        self.batch = batch
        self.dimension = told.dimension

    async def probe(self) -> None:
        """See that the server encodes anything; raises Failure where it does not."""
        await self._patiently([self._told.probe])

    async def query(self, text: str) -> Vector:
        """The vector of one text; raises Failure, whoever is at fault."""
        return (await self._patiently([text]))[0]

    async def documents(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of all texts, several requests at a time.

        Raises:
            Failure: the server's fault.
            RefusedTextError: one text is refused.
            TextFailedError: the server fails at one text.
        """
        parts = [texts[start : start + self.batch] for start in range(0, len(texts), self.batch)]
        found: list[list[Vector]] = [[] for _ in parts]
        errors: list[Exception] = []
        limit = trio.CapacityLimiter(self._told.options.concurrency)

        async def one(number: int) -> None:
            async with limit:
                try:
                    found[number] = await self._part(parts[number])
                except (Failure, RefusedTextError, TextFailedError) as error:
                    # The first is the one that counts; what else is under way is given up.
                    errors.append(error)
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for number in range(len(parts)):
                nursery.start_soon(one, number)
        if errors:
            raise errors[0]
        return [vector for part in found for vector in part]

    async def _part(self, texts: Sequence[str], *, again: bool = False) -> list[Vector]:
        """The vectors of one request's texts; in halves where they cannot be had at once.

        ``again`` is for halves: the server was alive a moment ago, so one try is enough.
        """
        try:
            return await (self._once(texts) if again else self._patiently(texts))
        except Failure as failure:
            if failure.kind in {Kind.BUSY, Kind.FINAL}:
                raise
            if failure.kind is Kind.PASSING:
                await self._require_life(failure)
            if len(texts) == 1:
                return await self._alone(texts, failure)
        middle = (len(texts) + 1) // 2
        found = await self._part(texts[:middle], again=True)
        found += await self._part(texts[middle:], again=True)
        # It was not a text but their number, or their size together.
        self.batch = min(self.batch, middle)
        return found

    async def _alone(self, texts: Sequence[str], failure: Failure) -> list[Vector]:
        """The vector of a text that failed by itself, if it does not fail again."""
        if failure.kind is Kind.REFUSED:
            await self._require_life(failure)
            raise RefusedTextError(f"the embedding server {failure.reason}")
        # The server is alive, and may not have been until now.
        try:
            return await self._once(texts)
        except Failure as again:
            if again.kind in {Kind.BUSY, Kind.FINAL}:
                raise
            raise TextFailedError(f"the embedding server {again.reason}") from None

    async def _require_life(self, failure: Failure) -> None:
        """Raise what happened as the server's fault, unless it encodes something else."""
        try:
            await self._once([self._told.probe], self._told.options.query_timeout_s)
        except Failure as other:
            if other.kind is Kind.BUSY:
                raise
            raise Failure(Kind.FINAL, failure.reason) from None

    async def _patiently(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of one request's texts, tried as often as is worth it."""
        ends = self._outside.clock() + self._told.timeout_s
        tried = 0
        while True:
            left = ends - self._outside.clock()
            try:
                return await self._once(texts, left)
            except Failure as failure:
                tried += 1
                left = ends - self._outside.clock()
                wait = self._told.persistence.wait(failure, tried, left)
                if wait is None:
                    raise
            await self._outside.sleep(wait)

    async def _once(self, texts: Sequence[str], timeout_s: float | None = None) -> list[Vector]:
        """The vectors of one request's texts."""
        told = self._told
        timeout_s = told.timeout_s if timeout_s is None else timeout_s
        body = {"model": told.options.model, "input": list(texts), "encoding_format": "float"}
        # As ASCII: a lone half of a character beyond the first 65,536 cannot be sent as UTF-8.
        content = json.dumps(body).encode()
        url = f"{told.options.url}/embeddings"
        answer = await self._session.post(Question(url, content, timeout_s, told.key))
        now = self._outside.now()
        failure = judged(answer, model=told.options.model, key=told.key, now=now)
        if failure is not None:
            raise failure
        vectors = vectors_in(answer.body, len(texts))
        self._require_dimension(len(vectors[0]))
        return vectors

    def _require_dimension(self, found: int) -> None:
        if self.dimension is None:
            self.dimension = found
        elif self.dimension != found:
            raise Failure(
                Kind.FINAL,
                f"gives vectors of {found} numbers, and those that there are have "
                f"{self.dimension}: it serves another model as {self._told.options.model}. Go back "
                "to the former one, or give `remote_revision` another value to encode everything "
                "anew",
            )

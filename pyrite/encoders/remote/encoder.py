"""The encoder on another computer, or in another process: a server with OpenAI's embeddings API.

text-embeddings-inference, vLLM, Ollama, llama.cpp and others serve it. What goes wrong is one of
two things to whoever asked: a :class:`ModelError`, by which no entry is at fault and the texts
are sent again later, or an error of one text. Where an answer does not say which it is, a text
that every model can encode is sent: if that fails too, it is the server.

Nothing is loaded here, so an encoder is always ready. Its connections are made when they are
first needed, and closed by :meth:`RemoteEncoder.unload`.
"""

from __future__ import annotations

import hashlib
import json
import re
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from actors.messages import Vector
from actors.packing import BatchLimits
from actors.ports import RefusedTextError
from pyrite.config.endpoint import base_url
from pyrite.config.settings import Settings
from pyrite.encoders.local.model_files import DEFAULT_MODEL, find, read_tokenizer
from pyrite.encoders.remote.client import Client, Timing
from pyrite.encoders.remote.requests import EmbeddingCall, TextFailedError
from pyrite.encoders.remote.responses import Failure, FailureKind, RetryPolicy
from pyrite.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")

#: Of a window that is measured with another model's tokenizer, only so much is used.
_MARGIN = 0.75

#: After a query that failed, others fail at once for so long, in seconds: a search goes on by
#: words, and need not wait each time until a server that is away has not answered.
_QUERIES_REST_S = 5.0

_FOR_DOCUMENTS = RetryPolicy()
#: Queries are waited for by somebody: one more try, and soon.
_FOR_QUERIES = RetryPolicy(tries=2, base_s=0.2, interactive=True)

#: The server divides its time by itself, so what counts is only that there be enough for it.
_TOKENS_PER_CALL = 2**20

#: What can stand in a header; a key that holds anything else was copied wrongly.
_KEY = re.compile(r"[\x21-\x7e]+")
#: No key is longer; a file that is, is another file. In bytes.
_LONGEST_KEY = 2**14


class RemoteEncoder:
    """A model behind a server; see :class:`pyrite.encoders.protocol.TextEncoder`."""

    #: There is nothing to load here.
    ready = True
    #: A call divides its texts among several requests itself.
    concurrency = 1

    def __init__(self, settings: Settings, timing: Timing | None = None) -> None:
        self._settings = settings
        self._url = base_url(settings.remote_url)
        self._timing = timing or Timing()
        self._client = Client(self._url, settings.remote_concurrency, self._timing)
        # Nobody may have told it to unload before it is forgotten.
        weakref.finalize(self, self._client.close_idle)
        #: The model's name, as the server is told it.
        self.name = settings.model
        #: How many numbers a vector has, once one has come or was expected.
        self.dimension: int | None = None
        self._batch = settings.remote_batch
        #: Before this, by the clock: nothing is sent, and no query is.
        self._rest_until = self._queries_rest_until = -float("inf")
        self._last_reason = ""

    def fingerprint(self) -> str:
        """What tells these embeddings from others, as far as it can be known from here.

        The server's address is not part of it: a model stays what it is when it moves. Nor is
        the prefix of queries, which no stored embedding depends on.
        """
        settings = self._settings
        parts = [settings.model, settings.remote_document_prefix, settings.remote_revision]
        return f"remote-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"

    @property
    def window(self) -> int:
        """How many tokens, of those that :meth:`tokenizer` makes, a text may have."""
        settings = self._settings
        most = settings.remote_window
        if not settings.remote_tokenizer:
            most = int(most * _MARGIN)
        if settings.remote_document_prefix:
            prefix = settings.remote_document_prefix
            most -= len(self.tokenizer().encode(prefix, add_special_tokens=False))
        return most

    def tokenizer(self) -> Tokenizer:
        """The one that the settings name, or the default model's as an estimate.

        Raises:
            ModelError: it cannot be read.
        """
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        path = self._settings.remote_tokenizer_path
        if path is None:
            return find(DEFAULT_MODEL).tokenizer()
        try:
            return read_tokenizer(path / "tokenizer.json" if path.is_dir() else path)
        except ValueError as error:
            raise ModelError(f"the setting `remote_tokenizer` cannot be used: {error}") from error

    @property
    def call_limits(self) -> BatchLimits:
        """As many texts as all requests at a time hold."""
        texts = self._settings.remote_batch * self._settings.remote_concurrency
        return BatchLimits(texts=texts, tokens=_TOKENS_PER_CALL)

    def set_threads(self, threads: int) -> None:
        """Nothing: the server's threads are its own."""

    def expect(self, dimension: int | None) -> None:
        """Refuse vectors of any other dimension; None where any will do."""
        self.dimension = dimension

    def load(self) -> None:
        """See that the server can be reached, takes the key and knows the model.

        Raises:
            ModelError: it does not.
        """
        self._run(EmbeddingCall.probe)

    def unload(self) -> None:
        """Close the connections that no call uses; the next call makes new ones."""
        self._client.close_idle()

    def encode(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One unit-length float32 vector of shape (dimension,) for each text.

        Raises:
            ModelError: the server cannot be reached, or is not what it should be.
            RefusedTextError: it refuses one of the texts.
            TextFailedError: it fails at one of the texts, and not at others.
        """
        if not texts:
            return []
        prefixed = [self._settings.remote_document_prefix + text for text in texts]
        return self._run(lambda call: call.documents(prefixed))

    def encode_query(self, text: str) -> Vector:
        """The embedding of a search query.

        Raises:
            ModelError: the server cannot be reached in time, or is not what it should be.
        """
        if self._timing.clock() < self._queries_rest_until:
            raise self._error(f"failed a moment ago: it {self._last_reason}")
        text = self._settings.remote_query_prefix + self._truncated(text)
        return self._run(lambda call: call.query(text), _FOR_QUERIES)

    def _truncated(self, text: str) -> str:
        """As much of a query as the model surely reads."""
        # No tokenizer makes more tokens than there are bytes.
        if len(text.encode()) <= self._settings.remote_window * _MARGIN:
            return text
        most = self.window - self.tokenizer().num_special_tokens_to_add(is_pair=False)
        offsets = self.tokenizer().encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= most else text[: offsets[most][0]]

    def _run(self, ask: Callable[[EmbeddingCall], T], policy: RetryPolicy = _FOR_DOCUMENTS) -> T:
        """Ask; what is nobody's fault but the server's is a ModelError."""
        left = self._rest_until - self._timing.clock()
        if left > 0:
            raise self._error(f"wants to be left alone for another {left:.0f} s")
        key = read_key(self._settings.remote_key, self._settings.remote_key_path)
        shared = (self._client, self._settings, key, policy, self._timing)
        call = EmbeddingCall(*shared, self._batch, self.dimension)
        try:
            found = ask(call)
        except Failure as failure:
            self._back_off(failure, policy)
            # Another server may be there next, which takes more at a time.
            self._batch = self._settings.remote_batch
            # Without its cause, which refers to the request and so to the key.
            raise self._error(failure.reason) from None
        except (RefusedTextError, TextFailedError):
            self._batch = call.batch
            raise
        self._batch = call.batch
        self.dimension = call.dimension
        return found

    def _back_off(self, failure: Failure, policy: RetryPolicy) -> None:
        """Leave the server alone for a while: for as long as it wants, or queries for a little."""
        now = self._timing.clock()
        self._last_reason = failure.reason
        if failure.kind is FailureKind.BUSY and failure.retry_after_s:
            self._rest_until = now + failure.retry_after_s
        if policy is _FOR_QUERIES and failure.kind is not FailureKind.REFUSED:
            self._queries_rest_until = now + _QUERIES_REST_S

    def _error(self, reason: str) -> ModelError:
        return ModelError(f"the embedding server {self._url} {reason}")


def read_key(given: str, path: Path | None) -> str:
    """The key; empty where none is set. The messages of errors hold nothing of it.

    Args:
        given: the setting ``remote_key``, which goes first.
        path: the setting ``remote_key_file``; read anew at each call, so that it may change.

    Raises:
        ModelError: the file cannot be read, or what is set cannot be a key.
    """
    if given:
        return _checked(given, "the setting `remote_key`")
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_KEY)
    except OSError as error:
        raise ModelError(
            f"the file {path} of the setting `remote_key_file` cannot be read: {error.strerror}"
        ) from None
    return _checked(content.decode("latin-1"), f"the file {path} of `remote_key_file`")


def _checked(text: str, where: str) -> str:
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ModelError(f"{where} does not hold a key: one word of ASCII characters, and no more")
    return key

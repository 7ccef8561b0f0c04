"""How an embedding server is asked, and what asking it needs of the world."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from pyrite.config.endpoint import base_url

if TYPE_CHECKING:
    from pyrite.config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """Where the server is and how it is asked; see the settings of the same names."""

    #: Without ``/embeddings``.
    url: str
    model: str
    key: str = field(default="", repr=False)
    key_file: Path | None = None
    timeout_s: float = 60.0
    query_timeout_s: float = 10.0
    concurrency: int = 4
    batch: int = 16
    window: int = 512
    tokenizer: Path | None = None
    document_prefix: str = ""
    query_prefix: str = ""
    revision: str = ""


def options_of(settings: Settings) -> RemoteOptions:
    """What the settings say of the server."""
    return RemoteOptions(
        url=base_url(settings.remote_url),
        model=settings.model,
        key=settings.remote_key,
        key_file=settings.remote_key_path,
        timeout_s=settings.remote_timeout_s,
        query_timeout_s=settings.remote_query_timeout_s,
        concurrency=settings.remote_concurrency,
        batch=settings.remote_batch,
        window=settings.remote_window,
        tokenizer=settings.remote_tokenizer_path,
        document_prefix=settings.remote_document_prefix,
        query_prefix=settings.remote_query_prefix,
        revision=settings.remote_revision,
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """What the encoder needs of the world, besides the server."""

    #: Seconds that only go forward.
    clock: Callable[[], float] = time.monotonic
    #: The time since the epoch.
    now: Callable[[], float] = time.time
    #: Called on the session's Trio thread.
    sleep: Callable[[float], Awaitable[object]] = trio.sleep
    #: Raises :class:`trio.TooSlowError` where what it is around takes longer; used there too.
    fail_after: Callable[[float], AbstractContextManager[object]] = trio.fail_after

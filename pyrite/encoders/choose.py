"""The encoder that the settings ask for.

A server where they name one. Otherwise, on a graphics processor, sentence-transformers; on others
OpenVINO where it serves.

Making one imports nothing heavy and reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyrite.encoders.local.encoder import Backend, LocalEncoder, Say
from pyrite.encoders.local.sentence_transformers import SentenceTransformersBackend, cuda_at_hand

if TYPE_CHECKING:
    from pyrite.config.settings import Settings
    from pyrite.encoders.protocol import TextEncoder


def encoder_of(settings: Settings, say: Say) -> TextEncoder:
    """The encoder that the settings name; it loads nothing yet."""
    if settings.remote_url:
        # Imported only here: it brings an HTTP client.
        from pyrite.encoders.remote.encoder import RemoteEncoder  # noqa: PLC0415

        return RemoteEncoder(settings)
    return LocalEncoder(
        settings.model,
        _backends(settings.cache_path, say),
        precision="fast" if settings.precision == "fast" else "exact",
        threads=settings.threads,
        cache=settings.cache_path,
        say=say,
    )


def _backends(cache: Path, say: Say) -> Iterator[Backend]:
    if not cuda_at_hand():
        # Imported only here: commands that do not encode should not pay for numpy.
        from pyrite.encoders.local.openvino import OpenVinoBackend  # noqa: PLC0415

        yield OpenVinoBackend(cache, say)
    yield SentenceTransformersBackend()

"""Imports of native libraries that cannot simply be imported.

``import openvino`` by itself tells Google Analytics that it was imported, writes an identity of
the user into ``~/intel`` for that, and waits for the sending when the process ends. A knowledge
base on a person's own machine does not do that, so the package that sends is hidden from the
import; OpenVINO then uses the empty stand-in that it carries. The part that converts models is
hidden too where nothing is converted, which halves the time of the import.

usearch must not be there before OpenVINO: each brings parts of the C++ library, and with
usearch's loaded first, OpenVINO (2026.4) can no longer read a compiled model. Nothing is said
of it but an empty error. So whoever imports usearch imports OpenVINO before, if it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_TELEMETRY = "openvino_telemetry"
_CONVERTER = "openvino.tools.ovc"
_importing = threading.Lock()


def import_openvino(*, converter: bool = False) -> Any:
    """The library, imported without sending anything.

    Args:
        converter: with ``convert_model``.

    Raises:
        ImportError: it is not installed, or does not fit this machine.
    """
    with _importing:
        if "openvino" not in sys.modules:
            with _hidden(_TELEMETRY, _CONVERTER):
                importlib.import_module("openvino")
        library: Any = sys.modules["openvino"]
        if converter and not hasattr(library, "convert_model"):
            with _hidden(_TELEMETRY):
                library.convert_model = importlib.import_module(_CONVERTER).convert_model
    return library


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Let imports of these modules fail meanwhile; what was imported before is left alone."""
    added = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    # None makes an import of the name fail.
    modules.update(dict.fromkeys(added))
    try:
        yield
    finally:
        for name in added:
            modules.pop(name, None)


def import_usearch() -> Any:
    """The module ``usearch.index``, with OpenVINO loaded before it."""
    if "usearch.index" not in sys.modules and importlib.util.find_spec("openvino") is not None:
        # One that does not fit this machine will not be used to encode either.
        with suppress(ImportError):
            import_openvino()
    return importlib.import_module("usearch.index")

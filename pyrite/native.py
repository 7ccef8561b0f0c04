"""How native libraries are imported that cannot simply be imported.

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
from contextlib import suppress
from typing import Any

_TELEMETRY = "openvino_telemetry"
_CONVERTER = "openvino.tools.ovc"
_importing = threading.Lock()


def import_openvino(*, converter: bool = False) -> Any:
    """The library, imported without sending anything.

    Args:
        converter: with ``convert_model``, if it is the first import in this process.

    Raises:
        ImportError: it is not installed, or does not fit this machine.
    """
    hidden = (_TELEMETRY,) if converter else (_TELEMETRY, _CONVERTER)
    with _importing:
        if "openvino" not in sys.modules:
            # None makes an import of the name fail; what was imported before is left alone.
            added = [name for name in hidden if name not in sys.modules]
            modules: dict[str, Any] = sys.modules
            modules.update(dict.fromkeys(added))
            try:
                importlib.import_module("openvino")
            finally:
                for name in added:
                    modules.pop(name, None)
        return sys.modules["openvino"]


def import_usearch() -> Any:
    """The module ``usearch.index``, with OpenVINO loaded before it."""
    if "usearch.index" not in sys.modules and importlib.util.find_spec("openvino") is not None:
        # One that does not fit this machine will not be used to encode either.
        with suppress(ImportError):
            import_openvino()
    return importlib.import_module("usearch.index")

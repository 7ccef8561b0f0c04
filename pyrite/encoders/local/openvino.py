"""OpenVINO as a backend: the model prepared once, then neither torch nor its library needed.

The threads that encode are made by whichever thread loads the model, and inherit its niceness.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.packing import BatchLimits
from pyrite.encoders.local import atomic_folder
from pyrite.encoders.local.arithmetic import ARITHMETICS, CONCURRENCY, Precision, threads_for
from pyrite.encoders.local.encoder import LoadedModel, NotPreparedError, Say
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.encoders.native import import_openvino

#: Texts in one call, at most: what counts is their tokens, unless they are very short.
_TEXTS = 32


@dataclass(frozen=True, slots=True)
class OpenVinoBackend:
    """Prepares models in a cache, and loads them from there."""

    cache: Path
    say: Say = lambda _: None

    def load(
        self, files: ModelFiles, fingerprint: str, precision: Precision, threads: int
    ) -> LoadedModel:
        """Load the model; prepare it first, if that has not been done on this machine.

        Raises:
            NotPreparedError: it cannot be prepared here.
        """
        import numpy as np  # noqa: PLC0415 - commands that do not encode should not pay for it

        from pyrite.encoders.local.calibrate import COMPILED  # noqa: PLC0415
        from pyrite.encoders.local.openvino_runtime import DEVICE, Runner  # noqa: PLC0415
        from pyrite.encoders.local.prepare import converted, fitted, model_folder  # noqa: PLC0415

        folder = model_folder(self.cache, fingerprint)
        converted(files, folder, self.say)
        threads = threads_for(threads)
        try:
            place, choice = fitted(files, folder, precision, threads, self.say)
            assert choice.arithmetic is not None
            library = import_openvino()
            # Mapped, not read: the weights are the operating system's to keep or drop. The
            # library shares only what it could write to, so writing would make a private copy.
            mapped = np.memmap(place / COMPILED, np.uint8, "c")
            blob = library.Tensor(mapped, shared_memory=True)
            properties = ARITHMETICS[choice.arithmetic].properties(threads, choice.streams)
            try:
                compiled = library.Core().import_model(blob, DEVICE, properties)
            except RuntimeError:
                # Whole, and yet not what this build of the library reads.
                atomic_folder.discard(place)
                raise
            runner = Runner(compiled, folder, choice.streams, mapped)
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise NotPreparedError(
                f"OpenVINO cannot load the model {files.name}: {error}"
            ) from error
        limits = BatchLimits(_TEXTS, choice.tokens)
        return LoadedModel(runner.documents, runner.query, CONCURRENCY, limits)

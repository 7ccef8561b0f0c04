"""How much of the encoder's speed the pipeline keeps, on real pages.

The pipeline and the encoder alone take turns on the same texts with the same loaded model.
The encoder alone gets all texts in one call of ``SentenceTransformer.encode``, which sorts
them by length; once with its default batch size, and once with the pipeline's.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from pyrite.config import Settings
from pyrite.encoders.sentence_transformers import SentenceTransformerEncoder
from pyrite.entries.chunks import chunks
from pyrite.services.embedding_service import EmbeddingService
from pyrite.services.embedding_worker import EmbeddingWorker
from pyrite.services.folder_sync import FolderSync
from pyrite.services.kb_service import KBService
from pyrite.storage.sqlite.store import SqliteStorage
from tests.acceptance.pages import real_pages
from tests.bench.report import Table

DEFAULT_BATCH = 32


def run(folder: Path, quick: bool) -> Sequence[Table]:
    pages, rounds = (24, 1) if quick else (256, 3)
    real_pages(folder / "pages", pages)
    settings = Settings(home=folder / "home")
    storage = SqliteStorage(settings.database_path)
    FolderSync(storage, settings).sync(KBService(storage, settings).add_kb("p", folder / "pages"))
    encoder = SentenceTransformerEncoder(settings.model)
    encoder.load()
    texts = [
        chunk.text
        for row in storage.entries("p")
        if (stored := storage.entry("p", row.entry.id))
        for _, chunk in chunks(stored.entry, encoder.window)
    ]
    model = encoder._model
    assert model is not None

    def pipeline() -> None:
        EmbeddingService(storage, settings).reembed()
        done = trio.run(EmbeddingWorker(storage, encoder, settings).process_queue).done
        assert done == len(texts)

    def alone(batch_size: int) -> Callable[[], None]:
        return lambda: model.encode(texts, batch_size=batch_size, show_progress_bar=False) and None

    ways: dict[str, Callable[[], object]] = {
        "the pipeline, whole": pipeline,
        f"SentenceTransformer.encode, batches of {settings.batch_texts}": lambda: model.encode(
            texts, batch_size=settings.batch_texts, show_progress_bar=False
        ),
        f"SentenceTransformer.encode, its default batches of {DEFAULT_BATCH}": lambda: model.encode(
            texts, batch_size=DEFAULT_BATCH, show_progress_bar=False
        ),
    }
    model.encode(texts[:16], show_progress_bar=False)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    table = Table(
        f"Embedding {len(texts)} pages",
        ("", "entries/s (median)", "slowest", "fastest", "pipeline to this"),
        "One chunk is one entry. The last column is the median over rounds of the ratio of rates.",
    )
    whole = seconds["the pipeline, whole"]
    for name, took in seconds.items():
        rates = [len(texts) / each for each in took]
        ratio = statistics.median(a / b for a, b in zip(took, whole, strict=True))
        table.add(name, statistics.median(rates), min(rates), max(rates), ratio)
    storage.close()
    memory = Table("Peak memory", ("", "MB"))
    memory.add(
        "the process that embeds",
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    return [table, memory]

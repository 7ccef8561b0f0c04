"""What encoding costs: the library at its defaults and at its best, each way of ours, the pipeline.

All take turns on the same texts, since a machine's speed changes from minute to minute. Texts
are cut from real pages to three lengths; each is an entry of its own, so that the pipeline
encodes just what the others do, and claims, splits and commits besides. What it does to begin
and to end is part of its time: the counts are those of a small import.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import trio
from sentence_transformers import SentenceTransformer

from pyrite.cli.context import make_encoder
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.encoders.local.model_files import find
from pyrite.encoders.protocol import TextEncoder
from pyrite.knowledge.service import KBService
from pyrite.markdown import document
from pyrite.markdown.chunks import Splitter
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages
from tests.bench.home import settings_in
from tests.bench.report import Table

DEFAULT_BATCH = 32
BATCHES = (4, 8, 16)

#: Tokens of a text and how many texts, by what such a text is called; the last fills the model's
#: window. Each set takes a way some seconds.
LENGTHS = {"short": (20, 480), "middle": (130, 160), "full window": (250, 80)}


@dataclass
class Bench:
    """Texts of one length, and everything that can encode them."""

    folder: Path
    texts: list[str]
    library: SentenceTransformer
    #: The library's model with weights of 16 bits.
    halved: SentenceTransformer
    exact: TextEncoder
    fast: TextEncoder

    def __post_init__(self) -> None:
        self.notes = self.folder / "notes"
        self.notes.mkdir(parents=True)
        for number, text in enumerate(self.texts):
            (self.notes / f"{number}.md").write_bytes(document.create(title=f"{number}", body=text))
        self.texts = [f"{number}\n\n{text}" for number, text in enumerate(self.texts)]
        self.tokens = [len(each.ids) for each in self.exact.tokenizer().encode_batch(self.texts)]
        self.runs = 0

    def pipeline(self) -> float:
        """How long the pipeline takes in a database of its own; reading files is no part of it."""
        self.runs += 1
        settings = settings_in(self.folder / f"home {self.runs}")
        with closing(SqliteStorage(settings.database_path)) as storage:
            FolderSync(storage, settings).sync(
                KBService(storage, settings).add_kb("texts", self.notes)
            )
            worker = EmbeddingWorker(storage, self.exact, settings)
            started = time.perf_counter()
            done = trio.run(worker.process_queue).chunks
            took = time.perf_counter() - started
        assert done == len(self.texts), (done, len(self.texts))
        return took

    def with_library(self, batch_size: int) -> npt.NDArray[np.float32]:
        return self.encoded(self.library, batch_size)

    def encoded(self, model: SentenceTransformer, batch_size: int) -> npt.NDArray[np.float32]:
        matrix = model.encode(
            self.texts, batch_size=batch_size, show_progress_bar=False, convert_to_tensor=True
        )
        rows: npt.NDArray[np.float32] = matrix.float().numpy()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def bare(self, encoder: TextEncoder) -> npt.NDArray[np.float32]:
        """In calls as large, and as many at a time, as the pipeline makes them; longest first."""
        order = sorted(range(len(self.texts)), key=lambda n: -self.tokens[n])
        limits, calls = encoder.call_limits, [[order[0]]]
        for n in order[1:]:
            full = (len(calls[-1]) + 1) * self.tokens[calls[-1][0]] > limits.tokens
            if full or len(calls[-1]) == limits.texts:
                calls.append([])
            calls[-1].append(n)
        rows: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(order)
        with ThreadPoolExecutor(encoder.concurrency) as threads:
            texts = ([self.texts[n] for n in call] for call in calls)
            for call, vectors in zip(calls, threads.map(encoder.encode, texts), strict=True):
                for n, vector in zip(call, vectors, strict=True):
                    rows[n] = vector
        return np.stack(rows)


def run(folder: Path, quick: bool) -> Sequence[Table]:
    rounds = 1 if quick else 3
    settings = settings_in(folder)
    exact, fast = make_encoder(settings), make_encoder(replace(settings, precision="fast"))
    for encoder in (exact, fast):
        encoder.load()
    path = str(find(settings.model).path)
    library = SentenceTransformer(path)
    halved = SentenceTransformer(path, model_kwargs={"dtype": torch.bfloat16})
    tables = []
    for name, (tokens, count) in list(LENGTHS.items())[: 1 if quick else None]:
        some, pages = (4, 10) if quick else (count, None)
        texts = texts_of(folder / f"pages {name}", exact, tokens, some, pages)
        bench = Bench(folder / name, texts, library, halved, exact, fast)
        tables.append(compare(name, bench, rounds))
    memory = Table("Peak memory", ("", "MB"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    memory.add("this process, with every encoder loaded", peak)
    return [*tables, memory]


def compare(name: str, bench: Bench, rounds: int) -> Table:
    """Let every way take its turn, so often."""
    truth = bench.with_library(8)
    best = min(BATCHES, key=lambda size: seconds(lambda: bench.with_library(size)))
    ways: dict[str, Callable[[], float]] = {
        f"SentenceTransformer.encode, its default batches of {DEFAULT_BATCH}": (
            lambda: seconds(lambda: bench.with_library(DEFAULT_BATCH))
        ),
        f"SentenceTransformer.encode, its best batches of {best}": (
            lambda: seconds(lambda: bench.with_library(best))
        ),
        f"torch, bfloat16, batches of {best}": (
            lambda: seconds(lambda: bench.encoded(bench.halved, best))
        ),
        "our encoder, bare": lambda: seconds(lambda: bench.bare(bench.exact)),
        "our encoder, bare, precision = fast": lambda: seconds(lambda: bench.bare(bench.fast)),
        "the pipeline, whole": bench.pipeline,
    }
    cosines = {
        f"torch, bfloat16, batches of {best}": cosine(truth, bench.encoded(bench.halved, best)),
        "our encoder, bare": cosine(truth, bench.bare(bench.exact)),
        "our encoder, bare, precision = fast": cosine(truth, bench.bare(bench.fast)),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, function in ways.items():
            took[way].append(function())
    tokens = statistics.mean(bench.tokens)
    table = Table(
        f"Encoding {len(bench.texts)} texts, {name}: {tokens:.0f} tokens on average",
        ("", "texts/s (median)", "slowest", "fastest", "to the defaults", "lowest cosine"),
        "`to the defaults` is the median, over the rounds, of the ratio of rates; the cosine is "
        "to the library's float32.",
    )
    first = next(iter(took.values()))
    for way, times in took.items():
        rates = [len(bench.texts) / each for each in times]
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        lowest = f"{cosines[way]:.6f}" if way in cosines else ""
        table.add(way, statistics.median(rates), min(rates), max(rates), ratio, lowest)
    bare, whole = took["our encoder, bare"], took["the pipeline, whole"]
    share = statistics.median(a / b for a, b in zip(bare, whole, strict=True))
    table.note += f" The pipeline reaches {share:.2f} of the bare encoder."
    return table


def texts_of(
    folder: Path, encoder: TextEncoder, tokens: int, count: int, pages: int | None
) -> list[str]:
    """That many texts of about so many tokens, from all real pages or from some."""
    real_pages(folder, pages)
    splitter = Splitter(encoder.tokenizer(), encoder.window)
    tokenizer = encoder.tokenizer()
    texts: list[str] = []
    for path in sorted(folder.rglob("*.md")):
        body = path.read_text(encoding="utf-8").partition("\n---\n")[2]
        for span, _ in splitter.split(Draft("", body=body)):
            encoded = tokenizer.encode(body[span.start : span.end], add_special_tokens=False)
            if len(encoded) >= min(tokens, 180):
                last = encoded.offsets[min(tokens, len(encoded)) - 1][1]
                texts.append(" ".join(body[span.start : span.start + last].split()))
                if len(texts) == count:
                    return texts
    return texts


def cosine(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """The lowest cosine of two matrices' rows."""
    return float((one.astype(np.float64) * other).sum(axis=1).min())


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started

"""How good the answers are, on a labelled collection: the product beside two plain references.

Constants of the search were chosen on every second judged query, the first among them. What
counts are the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytrec_eval
import trio
from sentence_transformers import SentenceTransformer

from pyrite.cli.context import make_encoder
from pyrite.config.settings import Settings
from pyrite.embedding.worker import EmbeddingWorker
from pyrite.encoders.local.model_files import find
from pyrite.encoders.protocol import TextEncoder
from pyrite.knowledge.service import KBService
from pyrite.search.query import Mode, SearchRequest
from pyrite.search.service import SearchService
from pyrite.storage.sqlite.driver import sqlite3
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.sync import FolderSync
from tests.bench import cisi
from tests.bench.cisi import Collection, Document, Query
from tests.bench.home import settings_in
from tests.bench.report import Table

#: How many documents each system names, best first.
HITS = 100
#: As the columns say them, and as pytrec_eval does.
MEASURES = {"nDCG@10": "ndcg_cut_10", "MAP": "map", f"recall@{HITS}": f"recall_{HITS}"}
WORDS, MEANING = "plain BM25", "cosine of whole texts"
REFERENCES = (WORDS, MEANING)
SYSTEMS = (
    "Plain BM25: FTS5's defaults, any of the query's words. Cosine of whole texts: "
    "`SentenceTransformer.encode` of title and text, cut where the model's window ends. The rest "
    "is the product."
)
RESAMPLES = 10_000

#: Finds the documents that fit a query, best first.
System: TypeAlias = Callable[[Query], Sequence[int]]

#: One row for each query, one column for each measure.
Scores: TypeAlias = npt.NDArray[np.float64]


def run(folder: Path, quick: bool) -> Sequence[Table]:
    if not cisi.FOLDER.exists():
        return [Table("Not measured", (), f"The CISI collection is not at {cisi.FOLDER}.")]
    collection = cisi.read(cisi.FOLDER)
    documents = collection.documents[: 8 if quick else None]
    queries = collection.queries[: 4 if quick else None]
    settings = settings_in(folder / "home")
    storage = SqliteStorage(settings.database_path)
    encoder = make_encoder(settings)
    fill(storage, settings, encoder, folder / "cisi", documents)
    service = SearchService(storage, encoder, settings)
    systems: dict[str, System] = {
        WORDS: plain_bm25(documents),
        MEANING: whole_texts(str(find(settings.model).path), documents),
        **{mode.value: product(service, mode) for mode in (Mode.KEYWORD, Mode.SEMANTIC)},
        Mode.HYBRID.value: product(service, Mode.HYBRID),
    }
    scores = {name: scored(collection, queries, system) for name, system in systems.items()}
    storage.close()
    chosen_on = {name: rows[::2] for name, rows in scores.items()}
    reported = {name: rows[1::2] for name, rows in scores.items()}
    return [
        means("CISI, queries that nothing was chosen on", reported),
        differences("CISI, what hybrid search gains on these queries", reported),
        means("CISI, queries that the constants were chosen on", chosen_on),
    ]


def fill(
    storage: SqliteStorage,
    settings: Settings,
    encoder: TextEncoder,
    folder: Path,
    documents: Sequence[Document],
) -> None:
    """Make a knowledge base of the documents, all embedded."""
    folder.mkdir(parents=True)
    for document in documents:
        front = {"title": document.title, "author": document.authors}
        # JSON is YAML.
        lines = [f"{name}: {json.dumps(value)}" for name, value in front.items()]
        text = "\n".join(["---", *lines, "---", "", document.text, ""])
        (folder / f"{document.number}.md").write_text(text, encoding="utf-8")
    FolderSync(storage, settings).sync(KBService(storage, settings).add_kb("cisi", folder))
    done = trio.run(EmbeddingWorker(storage, encoder, settings).process_queue).done
    assert done == len(documents)


def product(service: SearchService, mode: Mode) -> System:
    """The product itself, asked as a person would."""

    def find(query: Query) -> Sequence[int]:
        result = service.search(SearchRequest(query=query.text, mode=mode, limit=HITS))
        assert result.warning is None
        return [int(hit.id) for hit in result.hits]

    return find


def plain_bm25(documents: Sequence[Document]) -> System:
    """SQLite's full-text search as it comes: any of the words, its own tokens and ranking."""
    conn = sqlite3.connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE documents USING fts5 (text)")
    conn.executemany(
        "INSERT INTO documents (rowid, text) VALUES (?, ?)",
        [(document.number, whole(document)) for document in documents],
    )

    def find(query: Query) -> Sequence[int]:
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query.text))
        rows = conn.execute(
            "SELECT rowid FROM documents WHERE documents MATCH ? ORDER BY rank, rowid LIMIT ?",
            (words, HITS),
        )
        return [number for (number,) in rows]

    return find


def whole_texts(path: str, documents: Sequence[Document]) -> System:
    """The model as it comes: a vector for each text, of as much of it as the model reads."""
    model = SentenceTransformer(path)

    def encode(texts: list[str]) -> npt.NDArray[np.float32]:
        vectors: npt.NDArray[np.float32] = model.encode(
            texts, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    matrix = encode([whole(document) for document in documents])

    def find(query: Query) -> Sequence[int]:
        cosines = matrix @ encode([query.text])[0]
        return [documents[row].number for row in np.argsort(-cosines, kind="stable")[:HITS]]

    return find


def whole(document: Document) -> str:
    return f"{document.title}\n\n{document.text}"


def scored(collection: Collection, queries: Sequence[Query], system: System) -> Scores:
    """What a system gets for each query."""
    judged = {
        str(query.number): {str(number): 1 for number in collection.relevant[query.number]}
        for query in queries
    }
    ranked = {
        str(query.number): {
            str(number): float(-place) for place, number in enumerate(system(query))
        }
        for query in queries
    }
    measured = pytrec_eval.RelevanceEvaluator(judged, set(MEASURES.values())).evaluate(ranked)
    # A system that found nothing at all is missing from what was measured.
    nothing = dict.fromkeys(MEASURES.values(), 0.0)
    each = [measured.get(str(query.number), nothing) for query in queries]
    return np.array([[of[measure] for measure in MEASURES.values()] for of in each])


def means(title: str, scores: Mapping[str, Scores]) -> Table:
    note = f"Means over {len(scores[WORDS])} queries, of {HITS} documents each. {SYSTEMS}"
    table = Table(title, ("", *MEASURES), note)
    for name, rows in scores.items():
        table.add(name, *map(float, rows.mean(axis=0)))
    return table


def differences(title: str, scores: Mapping[str, Scores]) -> Table:
    """How much better hybrid search is, and how sure that is with so few queries."""
    table = Table(
        title,
        ("beside", *MEASURES),
        f"In brackets 95 % of {RESAMPLES:,} means of queries drawn anew (paired bootstrap).",
    )
    for name in REFERENCES:
        rows = scores[Mode.HYBRID.value] - scores[name]
        drawn = np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))
        low, high = np.percentile(rows[drawn].mean(axis=1), (2.5, 97.5), axis=0)
        cells = zip(rows.mean(axis=0), low, high, strict=True)
        table.add(name, *(f"{mean:+.3f} [{a:+.3f}, {b:+.3f}]" for mean, a, b in cells))
    return table

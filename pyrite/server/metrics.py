"""Metrics of this process and of its database, for Prometheus.

What takes time is observed as it happens; what merely is, such as the length of the queue, is
read when somebody asks. Names and units follow the conventions of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from actors.messages import Statistics, WorkerState
from pyrite import __version__
from pyrite.embedding.service import model_in_use
from pyrite.server.middleware.request_log import RequestRecord
from pyrite.storage.protocol import Storage

#: Upper bounds, in seconds: of answers, of calls of the encoder, and of transactions.
_ANSWERS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ENCODES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMITS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What is observed as it happens; an :class:`actors.ports.Observer` of the pipeline."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Histogram(
            "pyrite_http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route", "status"),
            buckets=_ANSWERS_S,
            registry=self.registry,
        )
        self._encodes = Histogram(
            "pyrite_encode_duration_seconds",
            "Time a batch of texts spends in the encoder.",
            buckets=_ENCODES_S,
            registry=self.registry,
        )
        self._batches = Histogram(
            "pyrite_encode_batch_texts",
            "Texts in a batch.",
            buckets=_BATCHES,
            registry=self.registry,
        )
        self._commits = Histogram(
            "pyrite_commit_duration_seconds",
            "Time of a transaction that stores embeddings and ends claims.",
            buckets=_COMMITS_S,
            registry=self.registry,
        )
        self._rescued = Counter(
            "pyrite_claims_rescued_total",
            "Claims ended whose lease had expired or whose worker had died.",
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def answered(self, record: RequestRecord) -> None:
        """A request has been answered."""
        if record.kind == "http":
            labels = record.method, record.route, str(record.status)
            self._answers.labels(*labels).observe(record.duration_s)

    def encoded(self, texts: int, seconds: float) -> None:
        """A batch of so many texts has been in the encoder for so long."""
        self._batches.observe(texts)
        self._encodes.observe(seconds)

    def committed(self, seconds: float) -> None:
        """A transaction that ended claims took so long."""
        self._commits.observe(seconds)

    def rescued(self, claims: int) -> None:
        """So many claims of others were ended."""
        self._rescued.inc(claims)


@dataclass(frozen=True, slots=True)
class Scrape:
    """What is read when somebody asks; blocks while it is collected."""

    storage: Storage
    #: The model that the settings name.
    model: str
    database: Path
    now: float
    leads: bool
    #: Of the worker in this process, if there is one.
    worker: Statistics | None
    #: WebSocket clients that are connected, and that were closed for being too slow.
    clients: int
    drops: int
    last_event: int
    #: What has been observed.
    observed: CollectorRegistry

    def collect(self) -> Iterator[Metric]:
        """All metrics there are."""
        yield InfoMetricFamily("pyrite_build", "The version.", {"version": __version__})
        yield from self._queue()
        yield from self._files()
        yield _gauge("pyrite_leader", "Whether this process has the right to embed.", self.leads)
        yield _gauge(
            "pyrite_feed_last_event", "Number of the newest event published.", self.last_event
        )
        if self.worker is not None:
            yield from _worker(self.worker)
        yield _gauge(
            "pyrite_websocket_clients", "WebSocket clients that follow the feed.", self.clients
        )
        yield CounterMetricFamily(
            "pyrite_websocket_drops",
            "WebSocket clients that were closed for being too slow.",
            self.drops,
        )
        yield from self.observed.collect()

    def _queue(self) -> Iterator[Metric]:
        model_id = model_in_use(self.storage, self.model)
        state = self.storage.queue_state(model_id=model_id)
        depth = GaugeMetricFamily(
            "pyrite_queue_entries", "Entries by where their embedding stands.", labels=["status"]
        )
        for status in ("pending", "processing", "done", "failed"):
            depth.add_metric([status], getattr(state.counts, status))
        yield depth
        oldest = state.oldest_pending
        yield _gauge(
            "pyrite_queue_oldest_pending_age_seconds",
            "Time since the entry that has waited longest was queued; 0 when none waits.",
            0.0 if oldest is None else max(0.0, self.now - oldest),
        )

    def _files(self) -> Iterator[Metric]:
        wal = self.database.with_name(f"{self.database.name}-wal")
        yield _gauge("pyrite_database_bytes", "Size of the database file.", _size(self.database))
        yield _gauge(
            "pyrite_database_wal_bytes", "Size of the database's write-ahead log.", _size(wal)
        )


def _worker(worker: Statistics) -> Iterable[Metric]:
    """The running numbers of the worker in this process."""
    state = GaugeMetricFamily(
        "pyrite_worker_state", "1 for the state that the worker is in.", labels=["state"]
    )
    for each in WorkerState:
        state.add_metric([each.value], each is worker.state)
    endings = CounterMetricFamily(
        "pyrite_claims_ended",
        "Claims by how they ended: lost ones had expired or been overtaken by an edit.",
        labels=["outcome"],
    )
    for outcome in ("done", "failed", "retried", "lost", "released"):
        endings.add_metric([outcome], getattr(worker, outcome))
    return (
        state,
        endings,
        CounterMetricFamily("pyrite_encoded_texts", "Texts encoded.", worker.chunks),
        CounterMetricFamily("pyrite_encoded_tokens", "Tokens encoded.", worker.tokens),
        CounterMetricFamily("pyrite_encoded_characters", "Characters encoded.", worker.characters),
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, float(value))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

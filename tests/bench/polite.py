"""What a long import costs those who write meanwhile, and what standing back costs the import.

The import is a process of its own, ``pyrite index embed`` over real pages, as in a second
terminal. Meanwhile this process writes short entries into another knowledge base of the same
database and waits for some of them to be embedded. The ways take turns, each over a new
database, since a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from actors.lifecycle import Status
from pyrite.knowledge.service import KBService
from pyrite.storage.records import Filters
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from pyrite.vault.sync import FolderSync
from tests.acceptance.pages import real_pages
from tests.bench.home import settings_in
from tests.bench.report import Table, percentile

#: From one write to the next, in seconds.
EVERY_S = 0.05
#: Between two looks at what is waited for, in seconds.
LOOK_S = 0.005
#: One write in so many is followed until it is embedded.
FOLLOWED = 5
#: Dots of the plot, at most, which is to stay small.
DOTS = 240

#: The settings of each way to import; none is no import.
WAYS: dict[str, Mapping[str, int] | None] = {
    "no import": None,
    "import, niceness 19 (the default)": {},
    "import, niceness 0": {"niceness": 0},
    "import, one thread, niceness 0": {"niceness": 0, "threads": 1},
}


@dataclass
class Watched:
    """What was seen; moments are those of the performance counter, in seconds."""

    #: When each write began, and how many milliseconds it took.
    writes: list[tuple[float, float]] = field(default_factory=list)
    #: How many of the import's chunks were embedded when.
    chunks: list[tuple[float, int]] = field(default_factory=list)
    #: Seconds from a write to its embedding, for those that were followed.
    waits: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Chunks a second."""
        (began, before), (ended, after) = self.chunks[0], self.chunks[-1]
        return (after - before) / (ended - began)


class Site:
    """A new database with pages to import, and a knowledge base to write into meanwhile."""

    def __init__(self, folder: Path, pages: Path) -> None:
        self.settings = settings_in(folder / "home")
        self.storage = SqliteStorage(self.settings.database_path)
        self.service = KBService(self.storage, self.settings)
        self.log = folder / "import.log"
        (folder / "written").mkdir()
        self.service.add_kb("written", folder / "written")
        FolderSync(self.storage, self.settings).sync(self.service.add_kb("pages", pages))

    def chunks(self) -> int:
        """How many of the import's chunks are embedded."""
        models = self.storage.models()
        if not models:
            return 0
        model_id = models[0].model_id
        written = self.storage.embedding_ids(model_id, Filters(kbs=("written",)))
        return self.storage.embedding_state(model_id).count - len(written)

    @contextmanager
    def importing(self, given: Mapping[str, int]) -> Iterator[subprocess.Popen[bytes]]:
        """The import, running; on leaving it has ended."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYRITE_")}
        environment["PYRITE_HOME"] = str(self.settings.home)
        environment["PYRITE_CACHE"] = str(self.settings.cache_path)
        environment |= {f"PYRITE_{name.upper()}": str(value) for name, value in given.items()}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pyrite", "index", "embed", "--json"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def runs(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether the import goes on; it may have ended, but not with an error."""
        code = process.poll()
        if code:
            raise RuntimeError(f"the import failed ({code}): {self.log.read_text()}")
        return code is None

    def wait_for_first_batch(self, process: subprocess.Popen[bytes]) -> None:
        while not self.chunks() and self.runs(process):
            time.sleep(LOOK_S)

    def watch(
        self, length_s: float, seen: Watched, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        """Write for so long, count once a second, and follow some writes while a process embeds."""
        followed: dict[int, float] = {}
        write_at = count_at = time.perf_counter()
        end = write_at + length_s
        while (now := time.perf_counter()) < end:
            if now >= count_at:
                count_at += 1
                seen.chunks.append((now, self.chunks()))
            if now >= write_at:
                write_at = max(write_at + EVERY_S, now)
                revision = self.write(seen)
                if process is not None and len(seen.writes) % FOLLOWED == 0:
                    followed[revision] = now
            self.look(followed, seen)
            time.sleep(LOOK_S)
        seen.chunks.append((time.perf_counter(), self.chunks()))
        while followed and process is not None and self.runs(process):
            self.look(followed, seen)
            time.sleep(LOOK_S)

    def write(self, seen: Watched) -> int:
        """Create an entry; returns its revision."""
        body = "A short note, of the length that people jot down while something else is going on."
        draft = Draft(f"Note {len(seen.writes)}", body=body)
        began = time.perf_counter()
        revision = self.service.create_entry("written", draft).revision
        seen.writes.append((began, (time.perf_counter() - began) * 1000))
        return revision

    def look(self, followed: dict[int, float], seen: Watched) -> None:
        """Note which of the writes are embedded by now."""
        for revision, began in list(followed.items()):
            if self.storage.revision_status(revision) is Status.DONE:
                seen.waits.append(time.perf_counter() - began)
                del followed[revision]


def run(folder: Path, quick: bool) -> Sequence[Table]:
    pages, rounds, length_s = (4, 1, 0.4) if quick else (None, 2, 12.0)
    real_pages(folder / "pages", pages)
    ways = dict(list(WAYS.items())[: 2 if quick else None])
    seen: dict[str, list[Watched]] = {way: [] for way in ways}
    early: set[str] = set()
    for number in range(rounds):
        for turn, (way, given) in enumerate(ways.items()):
            root = folder / f"{number}-{turn}"
            root.mkdir()
            site = Site(root, folder / "pages")
            watched = Watched()
            if given is None:
                site.watch(length_s, watched)
            else:
                with site.importing(given) as process:
                    site.wait_for_first_batch(process)
                    site.watch(length_s, watched, process)
                    if not site.runs(process):
                        early.add(way)
            site.storage.close()
            seen[way].append(watched)
    plot(folder, quick)
    return [table(seen, early, length_s)]


def table(seen: Mapping[str, Sequence[Watched]], early: set[str], length_s: float) -> Table:
    rounds = len(next(iter(seen.values())))
    made = Table(
        "Writing while another process imports",
        (
            "",
            "write p50, ms",
            "p99",
            "longest",
            "import, chunks/s",
            "write to embed_complete, s: median",
            "p90",
        ),
        f"An entry of a sentence is created every {EVERY_S * 1000:.0f} ms for {length_s:g} s from "
        f"the import's first batch on; one in {FOLLOWED} is followed until it is embedded. "
        f"Rounds in which the ways take turns, each over a new database: {rounds}. Chunks are the "
        "import's own, without those written meanwhile.",
    )
    for way, windows in seen.items():
        writes = [took for window in windows for _, took in window.writes]
        waits = [wait for window in windows for wait in window.waits]
        rate = statistics.mean(window.rate for window in windows)
        made.add(
            way + (" (which ended before)" if way in early else ""),
            percentile(writes, 0.5),
            percentile(writes, 0.99),
            max(writes),
            "" if WAYS[way] is None else rate,
            *((percentile(waits, 0.5), percentile(waits, 0.9)) if len(waits) > 1 else ("", "")),
        )
    return made


def plot(folder: Path, quick: bool) -> None:
    """Draw one import at the default settings, from its start, with idle time at both sides."""
    idle_s, length_s = (0.6, 0.6) if quick else (5.0, 40.0)
    root = folder / "plot"
    root.mkdir()
    site = Site(root, folder / "pages")
    seen = Watched()
    site.watch(idle_s, seen)
    with site.importing({}) as process:
        started = time.perf_counter()
        site.watch(length_s, seen)
        # Where the pages are few, or the machine is fast, it has ended by itself.
        if site.runs(process):
            process.terminate()
        stopped = time.perf_counter()
        site.watch(idle_s, seen)
    site.storage.close()
    seen.writes = [(at - started, took) for at, took in seen.writes]
    seen.chunks = [(at - started, count) for at, count in seen.chunks]
    draw(folder / "import.svg", seen, stopped - started)


def draw(path: Path, seen: Watched, stopped: float) -> None:
    """Throughput and write latency against time; the import began at 0."""
    edges, rates = [seen.chunks[0][0]], []
    last = seen.chunks[0]
    for at, count in seen.chunks:
        # Where one watch follows another, it counts twice at nearly the same moment.
        if at - last[0] > 0.5:
            edges.append(at)
            rates.append((count - last[1]) / (at - last[0]))
            last = (at, count)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pyrite", "font.size": 9}):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        above.stairs(rates, edges, color="tab:blue", fill=True, alpha=0.4)
        above.set_ylabel("import, chunks/s")
        dots = {
            "color": "tab:orange",
            "markersize": 3,
            "label": "the slowest, and some of the rest",
        }
        below.plot(*zip(*thinned(seen.writes), strict=True), ".", **dots)
        below.plot(*running_median(seen.writes), color="black", linewidth=1.2, label="running p50")
        below.set_yscale("log")
        below.yaxis.set_major_formatter("{x:g}")
        below.set_ylabel("a write, ms")
        below.set_xlabel(
            "seconds since the import was started; the second line is where it was stopped"
        )
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        for axes in (above, below):
            axes.grid(alpha=0.3)
            for moment in (0, stopped):
                axes.axvline(moment, color="grey", linestyle="--", linewidth=1)
        figure.savefig(path, format="svg", metadata={"Date": None})


def thinned(writes: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many writes as a small picture can hold: the slowest, and evenly of the rest."""
    slowest = sorted(writes, key=lambda write: write[1], reverse=True)[: DOTS // 4]
    step = max(1, -(-len(writes) // (DOTS - len(slowest))))
    return sorted({*slowest, *writes[::step]})


def running_median(writes: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Every half second, the median of the writes of the second around it."""
    moments, medians = [], []
    moment = writes[0][0]
    while moment <= writes[-1][0]:
        near = [took for at, took in writes if abs(at - moment) <= 0.5]
        if near:
            moments.append(moment)
            medians.append(statistics.median(near))
        moment += 0.5
    return moments, medians

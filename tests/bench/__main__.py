"""Runs benchmarks by name, or all of them::

    python -m tests.bench                     all, in full (several minutes)
    python -m tests.bench queue startup       these
    python -m tests.bench --quick             all, small: only to see that they run

Each prints its tables and writes bench-results/NAME.json, and its plots beside that.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.report import Table, copy_plots, into_handbook, machine, publish

Benchmark = Callable[[Path, bool], Sequence[Table]]

#: Modules beside this one, each with a `run`; imported only to be run, since some bring torch.
BENCHMARKS = (
    *("encoding", "editing", "quality", "neighbours", "queue", "writes", "polite", "service"),
    *("feed", "idle", "sync", "startup"),
)


def benchmark(name: str) -> Benchmark:
    """One of the benchmarks."""
    run: Benchmark = importlib.import_module(f"tests.bench.{name}").run
    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small numbers; says nothing of speed")
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    parser.add_argument(
        "--handbook",
        type=Path,
        metavar="ENTRY",
        help="afterwards put the tables of all benchmarks in the output folder into this entry, "
        "and their plots beside it",
    )
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {min(unknown)!r}; there are {', '.join(BENCHMARKS)}")
    print(", ".join(f"{name} {value}" for name, value in machine().items()), end="\n\n")
    for name in options.names or BENCHMARKS:
        with tempfile.TemporaryDirectory() as folder:
            tables = benchmark(name)(Path(folder), options.quick)
            publish(name, tables, options.output, quick=options.quick)
            copy_plots(Path(folder), options.output)
    if options.handbook is not None:
        into_handbook(options.handbook, options.output, BENCHMARKS)


if __name__ == "__main__":
    main()

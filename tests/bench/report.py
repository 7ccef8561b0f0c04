"""How a benchmark says what it measured: a table to read, and a JSON file to compare."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pyrite.storage.sqlite.driver import sqlite3

#: Where the tables begin in the handbook's entry.
MARK = "<!-- tables -->"

PACKAGES = ("trio", "numpy", "sentence-transformers", "torch", "sqlite-utils")


@dataclass
class Table:
    """Rows under headers, with a title and what has to be known to read them."""

    title: str
    headers: Sequence[str]
    note: str = ""
    rows: list[Sequence[str | float | int]] = field(default_factory=list)

    def add(self, *cells: str | float | int) -> None:
        self.rows.append(cells)

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        lines += ["| " + " | ".join(self.headers) + " |", "|---" * len(self.headers) + "|"]
        lines += ["| " + " | ".join(map(shown, row)) + " |" for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])


def shown(cell: str | float) -> str:
    """A cell as text: three significant figures are all that a timing is good for."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"


def machine() -> dict[str, str | int]:
    """What it was measured on."""
    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in PACKAGES},
    }


def publish(name: str, tables: Sequence[Table], folder: Path, *, quick: bool) -> None:
    """Print tables, and write them with the machine's description."""
    for table in tables:
        print(table.markdown(), end="\n\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": name,
        "quick": quick,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "tables": [
            {
                "title": table.title,
                "headers": list(table.headers),
                "note": table.note,
                "rows": [list(row) for row in table.rows],
            }
            for table in tables
        ],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")


def into_handbook(entry: Path, folder: Path, names: Sequence[str]) -> None:
    """Put a folder of results into a handbook entry: tables for those there, plots beside it."""
    results = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    parts = [", ".join(f"{name} {value}" for name, value in results[0]["machine"].items()) + "."]
    for result in results:
        tables = [Table(**table) for table in result["tables"]]
        parts += [f"## {result['benchmark']}", *(table.markdown() for table in tables)]
    before = entry.read_text(encoding="utf-8").partition(MARK)[0]
    entry.write_text(before + MARK + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
    copy_plots(folder, entry.parent)


def copy_plots(source: Path, target: Path) -> None:
    """Copy the plots that lie in a folder."""
    for plot in source.glob("*.svg"):
        shutil.copyfile(plot, target / plot.name)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]

"""How long commands take that load no model: whole processes, from outside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pyrite.config.settings import Settings
from pyrite.knowledge.service import KBService
from pyrite.storage.sqlite.store import SqliteStorage
from pyrite.vault.entry_files import Draft
from tests.bench.report import Table

COMMANDS = (
    ("--help",),
    ("index", "embed", "--status"),
    ("index", "embed", "--status", "--json"),
    ("kb", "list"),
    ("index", "sync"),
)


def run(folder: Path, quick: bool) -> Sequence[Table]:
    settings = Settings(home=folder / "home")
    storage = SqliteStorage(settings.database_path)
    service = KBService(storage, settings)
    (folder / "notes").mkdir()
    service.add_kb("notes", folder / "notes")
    service.create_entry("notes", Draft("One"))
    storage.close()
    times, skipped = (1, 0) if quick else (21, 1)
    # As an installed command has it: bytecode is written once, not compiled at each start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYRITE_HOME": str(settings.home)}
    if not quick:
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "pyc")
    table = Table(
        "Commands from start to end, milliseconds",
        ("command", "median", "shortest", "longest"),
        f"{times} runs each, after {skipped} that are not counted.",
    )
    for command in COMMANDS:
        taken = []
        for _ in range(times + skipped):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "pyrite", *command],
                env=environment,
                check=True,
                capture_output=True,
            )
            taken.append((time.perf_counter() - started) * 1000)
        counted = taken[skipped:]
        median = statistics.median(counted)
        table.add(f"pyrite {' '.join(command)}", median, min(counted), max(counted))
    return [table]

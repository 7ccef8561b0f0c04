"""The wheel: what it carries, and that it works where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import pyrite

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.process


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """What a command prints that has to succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves its own files beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("actors", "pyrite"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_it_carries_the_handbook_and_its_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    handbook = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "pyrite/handbook").rglob("*.md")
    }
    assert handbook <= set(names)
    assert {"pyrite/py.typed", "actors/py.typed"} <= set(names)
    assert not any(name.startswith("tests/") for name in names)


def test_it_is_of_the_version_that_the_code_says(wheel: Path) -> None:
    assert wheel.name.startswith(f"pyrite-{pyrite.__version__}-")


@pytest.mark.model
@pytest.mark.xdist_group("model")
def test_installed_elsewhere_it_answers_a_search(wheel: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh, cwd=tmp_path)
    python = fresh / "bin" / "python"
    options = ("--no-deps", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=tmp_path)
    # What Pyrite depends on is lent from the environment of the tests. Links to a checkout in
    # there are files that are read in an environment's own folder alone, so they have no effect.
    site = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip()
    )
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    where = run(python, "-c", "import pyrite; print(pyrite.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(fresh)

    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "backups.md").write_text("# Backups\n\nWe keep nightly copies for thirty days.\n")
    (notes / "garden.md").write_text("# Garden\n\nThe roses want less water in autumn.\n")
    command, home = fresh / "bin" / "pyrite", str(tmp_path / "home")
    run(command, "kb", "add", "notes", notes, cwd=tmp_path, PYRITE_HOME=home)
    run(command, "index", "sync", cwd=tmp_path, PYRITE_HOME=home)
    run(command, "index", "embed", cwd=tmp_path, PYRITE_HOME=home)
    query = "for how long are old versions stored"
    said = run(command, "search", query, "--json", cwd=tmp_path, PYRITE_HOME=home)
    hits = json.loads(said)["hits"]
    assert hits[0]["id"] == "backups"
    assert hits[0]["scores"]["semantic_rank"] == 1

"""The campaigns in their short form; and in full, which takes an hour."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaigns.__main__ import NAMES
from tests.campaigns.disk import Call, Disk
from tests.campaigns.kills import make_folder
from tests.campaigns.promises import Ledger, broken_promises, finish

ROOT = Path(__file__).parents[2]

#: How much each tries in a few seconds.
SHORT = {"kills": 40, "parsers": 10_000, "power-loss": 16}


def campaign(name: str, *arguments: str) -> str:
    if name == "power-loss" and shutil.which("strace") is None:
        pytest.skip("LOUDLY: power loss is not tried, for strace is not installed")
    command = [sys.executable, "-m", "tests.campaigns", name, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_a_few_seconds(name: str) -> None:
    assert f"{SHORT[name]:,} " in campaign(name, "--count", str(SHORT[name]))


@pytest.mark.long
@pytest.mark.process
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_full(name: str) -> None:
    assert "nothing found" in campaign(name)


def test_what_is_lost_or_wrong_is_found(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "notes"
    make_folder(folder)
    finish(home, folder)
    good = Ledger.of({"note-0": "# Note 0"})
    assert broken_promises(home, folder, good) == []
    assert broken_promises(home, folder, Ledger.of({"gone": "Text."})) != []
    assert broken_promises(home, folder, Ledger.of({"note-0": "Other text."})) != []
    assert broken_promises(home, folder, Ledger({}, {99: "note-0"})) == ["no event of note-0's 99"]
    (folder / "note-1.md").write_text("Changed behind the index.\n", encoding="utf-8")
    assert broken_promises(home, folder, good) == ["note-1: its embedding is not that of its text"]


def test_a_disk_keeps_what_was_synced_and_may_lose_the_rest(tmp_path: Path) -> None:

    disk, path = Disk(tmp_path), f"{tmp_path}/new"
    file, folder = f"3<{path}>".encode(), f"4<{tmp_path}>".encode()
    disk.apply(Call("openat", (b"AT_FDCWD</>", path.encode(), b"O_WRONLY|O_CREAT"), file))
    disk.apply(Call("write", (file, b"safe", b"4"), b"4"))
    disk.apply(Call("fsync", (file,), b"0"))
    # Its data is safe, and its name is not.
    assert disk.after_loss(random.Random(1), 0.0) == {}
    disk.apply(Call("fsync", (folder,), b"0"))
    disk.apply(Call("write", (file, b" and not", b"8"), b"8"))
    assert disk.after_loss(random.Random(1), 0.0) == {path: b"safe"}
    assert disk.after_loss(random.Random(1), 1.0) == {path: b"safe and not"}
    disk.apply(Call("unlink", (path.encode(),), b"0"))
    assert disk.after_loss(random.Random(1), 0.0) == {path: b"safe"}
    assert disk.after_loss(random.Random(1), 1.0) == {}


@pytest.mark.process
def test_a_text_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    """Its neighbours die with it once, and are embedded by the next worker."""
    make_folder(tmp_path / "notes")
    # In a process without threads, for it forks.
    code = (
        "import sys; from pathlib import Path; from tests.campaigns.kills import poisoned; "
        "place = Path(sys.argv[1]); print(poisoned(place / 'home', place / 'notes'))"
    )
    command = [sys.executable, "-c", code, tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "(3, [])", run.stdout + run.stderr

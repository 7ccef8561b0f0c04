"""A folder of the cache is whole or is not there, whoever makes it and whatever befalls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyrite.encoders.local import atomic_folder

MAKER = """
import sys, time
from pathlib import Path
from pyrite.encoders.local import atomic_folder

print("up", flush=True)
sys.stdin.readline()
def quick(empty):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    (empty / "big").write_bytes(b"x" * 10_000_000)
atomic_folder.make(Path(sys.argv[1]), quick)
print(atomic_folder.intact(Path(sys.argv[1])))
"""


def fill(empty: Path) -> None:
    (empty / "a.txt").write_text("one")
    (empty / "deep").mkdir()
    (empty / "deep" / "b.bin").write_bytes(bytes(range(256)) * 5000)


def never(empty: Path) -> None:
    raise AssertionError(f"{empty} was to be made again")


def test_is_made_once(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "model"
    assert not atomic_folder.intact(place)
    atomic_folder.make(place, fill)
    assert atomic_folder.intact(place)
    atomic_folder.make(place, never)


@pytest.mark.parametrize("name", ["a.txt", "deep/b.bin", atomic_folder.MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "flip", "missing", "longer"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, name: str, harm: str) -> None:
    place = tmp_path / "model"
    atomic_folder.make(place, fill)
    path = place / name
    before = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(before[: len(before) // 2])
    elif harm == "flip":
        path.write_bytes(bytes([before[0] ^ 0x55]) + before[1:])
    else:
        path.write_bytes(before + b"?")
    assert not atomic_folder.intact(place)
    atomic_folder.make(place, fill)
    assert atomic_folder.intact(place)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".making-*"))


def test_only_what_is_needed_is_checked(tmp_path: Path) -> None:
    place = tmp_path / "model"
    atomic_folder.make(place, fill)
    (place / "a.txt").write_text("two")
    assert atomic_folder.intact(place, "deep/b.bin")
    assert not atomic_folder.intact(place, "a.txt")
    assert not atomic_folder.intact(place, "c.txt")
    atomic_folder.make(place, never, "deep/b.bin")


def test_one_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    def fail(empty: Path) -> None:
        (empty / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_folder.make(tmp_path / "model", fail)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["model.lock"])


def test_discarded_is_gone(tmp_path: Path) -> None:
    atomic_folder.make(tmp_path / "model", fill)
    atomic_folder.discard(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    atomic_folder.discard(tmp_path / "model")


@pytest.mark.process
def test_two_processes_make_it_once(tmp_path: Path) -> None:
    place, log = tmp_path / "model", tmp_path / "log"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(place), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "up\n"
    answers = [maker.stdin and (maker.stdin.write("go\n"), maker.stdin.flush()) for maker in makers]
    assert all(answers)
    assert [maker.communicate(timeout=60)[0] for maker in makers] == ["True\n", "True\n"]
    assert log.read_text() == "made\n"

"""The real command, on a terminal and in a pipe: progress, Ctrl-C and what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hands import LONG, Product

pytestmark = pytest.mark.process

NOTES = 300
ROOT = Path(__file__).parents[2]
CTRL_C = b"\x03"


@pytest.fixture
def notes(product: Product) -> Product:
    """Some hundred small notes that wait."""
    for number in range(NOTES):
        product.write(f"note-{number}.md", f"# Note {number}\n\nText of note {number}.\n")
    product.folders.sync(product.kb)
    return product


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def environment(product: Product, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYRITE_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"):
        kept.pop(name, None)
    own = {"PYRITE_HOME": str(product.home), "PYRITE_MODEL": product.settings.model}
    own |= {"TERM": "xterm", "COLUMNS": "100"}
    return {**kept, **own, **more}


def start(
    product: Product, *arguments: str, streams: dict[str, int], **more: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.launcher", *arguments],
        cwd=ROOT,
        env=environment(product, **more),
        start_new_session=True,
        **streams,  # type: ignore[call-overload]
    )


def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; it surely will."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)


class Screen:
    """A command on a terminal of its own, and all that it has shown."""

    def __init__(self, product: Product, *arguments: str, **more: str) -> None:
        self._master, slave = pty.openpty()
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = start(product, *arguments, streams=streams, **more)
        os.close(slave)
        self.text = ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, pattern: str) -> None:
        """Return once the pattern has been shown."""
        while not re.search(pattern, self.text):
            assert self._read(), f"it ended without {pattern!r}: {self.text!r}"

    def end(self) -> int:
        """The exit code, once the command has ended by itself."""
        while self._read():
            pass
        return self.process.wait(LONG)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], LONG)
        assert ready, f"nothing more came after {self.text!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody is at the other end
            return False
        self.text += data.decode()
        return bool(data)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


def standing(product: Product) -> dict[tuple[object, object], object]:
    """How many rows there are of each (status, attempts)."""
    rows = product.query("SELECT status, attempts, count(*) FROM embed_queue GROUP BY 1, 2")
    return {(status, attempts): count for status, attempts, count in rows}


def check_stopped(product: Product, text: str, name: str) -> None:
    """The message of a graceful stop must agree with what it left behind."""
    found = re.search(rf"stopped by {name}: (\d+) entr(?:y|ies) embedded, (\d+) still queued", text)
    assert found, text
    done, left = map(int, found.groups())
    assert done + left == NOTES
    expected = {("done", 1): done, ("pending", 0): left}
    assert standing(product) == {key: count for key, count in expected.items() if count}
    assert product.storage.workers() == []


def test_a_terminal_shows_a_bar(notes: Product, screens: list[Screen]) -> None:
    screen = Screen(notes, "index", "embed", LAUNCHER_DELAY_S="0.005")
    screens.append(screen)
    assert screen.end() == 0
    assert re.search(rf"embedding .*━.*\d+/{NOTES}", screen.text)
    assert f"embedded {NOTES} entries in" in screen.text
    assert screen.text.rstrip().splitlines()[-1].find("embedded") >= 0
    assert standing(notes) == {("done", 1): NOTES}


def test_a_pipe_gets_plain_lines(notes: Product) -> None:
    streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    process = start(
        notes,
        *("index", "embed"),
        streams={"stdin": subprocess.DEVNULL, **streams},
        LAUNCHER_DELAY_S="0.005",
    )
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0
    assert re.fullmatch(rf"embedded {NOTES} entries in [^\n]+\n", out.decode())
    lines = err.decode().splitlines()
    assert any(re.fullmatch(rf"embedding: \d+ of {NOTES}(, .+ left)?", line) for line in lines)
    assert "\x1b" not in err.decode()
    assert "\r" not in err.decode()


def test_ctrl_c_finishes_the_batch_and_stops(
    notes: Product, screens: list[Screen], gate: Path
) -> None:
    screen = Screen(notes, "index", "embed", LAUNCHER_GATE=str(gate))
    screens.append(screen)
    until(Path(f"{gate}.begun").exists)
    screen.type(CTRL_C)
    screen.wait_for("finishing the batch in progress; once more leaves at once")
    gate.touch()
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    check_stopped(notes, screen.text, "SIGINT")
    assert 0 < notes.storage.counts().done < NOTES


def test_sigterm_finishes_the_batch_and_stops(notes: Product, gate: Path) -> None:
    streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    process = start(
        notes,
        *("index", "embed", "--background"),
        streams={"stdin": subprocess.DEVNULL, **streams},
        LAUNCHER_GATE=str(gate),
    )
    until(Path(f"{gate}.begun").exists)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while b"finishing the batch in progress" not in process.stderr.readline():
        assert process.poll() is None
    gate.touch()
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 143
    assert b"Traceback" not in err
    check_stopped(notes, out.decode(), "SIGTERM")


def test_a_second_ctrl_c_leaves_at_once_and_nothing_is_lost(
    notes: Product, screens: list[Screen], gate: Path
) -> None:
    screen = Screen(notes, "index", "embed", LAUNCHER_GATE=str(gate))
    screens.append(screen)
    until(Path(f"{gate}.begun").exists)
    screen.type(CTRL_C)
    screen.wait_for("once more leaves at once")
    # Within half a second of the first it would be the same one.
    until(lambda: screen.type(CTRL_C) or screen.process.poll() is not None)
    assert screen.end() == 130  # the gate is shut: the call has not come back
    assert notes.storage.counts().processing > 0
    told = ran_into(notes, "", "index", "embed", "--status").stdout.decode()
    assert re.search(r"^processing  \d+, left behind by a worker that is gone;", told, re.MULTILINE)
    gate.touch()
    again = Screen(notes, "index", "embed", LAUNCHER_GATE=str(gate))
    screens.append(again)
    assert again.end() == 0
    assert f"embedded {NOTES} entries in" in again.text
    assert notes.storage.counts().done == NOTES
    assert {status for status, _ in standing(notes)} == {"done"}


def test_ctrl_c_does_not_wait_for_a_model_that_is_still_loading(
    notes: Product, screens: list[Screen], gate: Path
) -> None:
    screen = Screen(notes, "index", "embed", LAUNCHER_GATE=str(gate), LAUNCHER_GATED="load")
    screens.append(screen)
    screen.wait_for("loading the model")
    until(Path(f"{gate}.begun").exists)
    screen.type(CTRL_C)
    assert screen.end() == 130  # the gate is shut
    check_stopped(notes, screen.text, "SIGINT")
    assert notes.storage.counts().done == 0


@pytest.mark.parametrize("arguments", [("list",), ("kb", "list")], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(notes: Product, arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdin": subprocess.DEVNULL, "stdout": writer, "stderr": subprocess.PIPE}
    process = start(notes, *arguments, streams=streams)
    os.close(writer)
    _, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (0, b"")


def ran_into(product: Product, redirection: str, *arguments: str, **more: str) -> Any:
    """The command, run by a shell with its output redirected."""
    command = shlex.join([sys.executable, "-m", "tests.integration.launcher", *arguments])
    return subprocess.run(
        ["sh", "-c", f"{command} {redirection}"],
        cwd=ROOT,
        env=environment(product, PYTHONUNBUFFERED="", **more),
        capture_output=True,
        timeout=LONG,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(notes: Product, closed: str) -> None:
    ran = ran_into(notes, closed, "list", "--limit", "1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


@pytest.mark.parametrize("limit", ["1", "300"])
def test_output_that_cannot_be_written_is_said_in_a_line(notes: Product, limit: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    ran = ran_into(notes, "> /dev/full", "list", "--limit", limit)
    assert ran.returncode == 1
    assert re.fullmatch(rb"pyrite: [^\n]+ No space left on device[^\n]*\n", ran.stderr)


@pytest.mark.parametrize(
    "locale",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=["latin-1", "ascii"],
)
def test_letters_that_the_terminal_lacks_are_escaped(
    product: Product, locale: dict[str, str]
) -> None:
    product.write("a.md", "# 日本 🎉\n")
    product.folders.sync(product.kb)
    ran = ran_into(product, "", "list", **locale)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert rb"\u65e5\u672c \U0001f389" in ran.stdout
    ran = ran_into(product, "", "list", "--json", **locale)
    assert json.loads(ran.stdout)["entries"][0]["title"] == "日本 🎉"


def test_a_note_does_not_steer_the_terminal(product: Product, screens: list[Screen]) -> None:
    product.write("a.md", "# \x1b[31mRed\x1b]0;title\x07\n\nwords \x1b[2J of \u202emine\n")
    product.folders.sync(product.kb)
    for arguments in (
        *(("get", "a"), ("list",), ("search", "words", "--mode", "keyword")),
        ("index", "embed", "--failed"),
    ):
        screen = Screen(product, *arguments, NO_COLOR="1", COLUMNS="50")
        screens.append(screen)
        assert screen.end() == 0
        assert not re.search("\x1b(?!\\[[01]m)|\x07|\u202e", screen.text)
        assert arguments[0] == "index" or r"\x1b[31mRed\x1b]0;title\x07" in screen.text


def test_progress_of_a_sync_is_shown(notes: Product, screens: list[Screen]) -> None:
    notes.kbs.remove_kb("notes")
    notes.kbs.add_kb("notes", notes.folder)
    screen = Screen(notes, "index", "sync")
    screens.append(screen)
    assert screen.end() == 0
    assert f"{NOTES}/{NOTES}" in screen.text
    assert f"notes: {NOTES} new" in screen.text

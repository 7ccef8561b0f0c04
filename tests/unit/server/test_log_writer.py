"""Whoever logs waits for nobody: lines go to a thread, and those without room are counted."""

from __future__ import annotations

import io
import logging
import logging.config
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyrite.server.log_writer import LogWriter


class Slow(io.StringIO):
    """A stream into which nothing can be written until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.blocked = threading.Event()

    def write(self, text: str) -> int:
        self.blocked.set()
        self.gate.wait()
        return super().write(text)


def logger_to(writer: LogWriter) -> logging.Logger:
    logger = logging.Logger("test", logging.INFO)
    logger.addHandler(writer)
    return logger


@pytest.fixture
def slow() -> Iterator[Slow]:
    stream = Slow()
    yield stream
    stream.gate.set()


def test_lines_are_written_in_order() -> None:
    out = io.StringIO()
    writer = LogWriter(out)
    logger = logger_to(writer)
    for number in range(1000):
        logger.info("line %d", number)
    writer.flush()
    assert out.getvalue().splitlines() == [f"line {number}" for number in range(1000)]
    writer.stop()


def test_lines_without_room_are_dropped_counted_and_said(slow: Slow) -> None:
    writer = LogWriter(slow, capacity=3)
    logger = logger_to(writer)
    logger.info("first")
    assert slow.blocked.wait(30)
    for number in range(10):
        logger.info("%d", number)  # returns, though nothing can be written
    slow.gate.set()
    writer.flush()
    logger.info("last")
    writer.flush()
    first, *kept, last = slow.getvalue().splitlines()
    assert (first, last) == ("first", "last")
    said = [line for line in kept if "were dropped" in line]
    assert len(said) == 1
    assert kept == [said[0], "0", "1", "2"]
    writer.stop()


def test_a_pipe_that_nobody_reads_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    writer = LogWriter(stream, capacity=10)
    logger = logger_to(writer)
    for _ in range(1000):  # a pipe holds 64 KiB
        logger.info("x" * 1000)

    read: list[str] = []
    with os.fdopen(reading) as reader:
        draining = threading.Thread(target=lambda: read.extend(reader))
        draining.start()
        # Now that somebody reads, there is room for the end, and everything before it is written.
        while writer._thread.is_alive():
            writer.flush()
            writer.stop()
            writer._thread.join(0.1)
        stream.close()
        draining.join(30)
    lines = {line.rstrip() for line in read}
    assert "x" * 1000 in lines
    assert any("were dropped" in line for line in lines)


def test_the_end_does_not_wait_for_ever_for_a_reader(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrite.server.log_writer._LAST_LINES_S", 0.01)
    writer = LogWriter(slow)
    logger_to(writer).info("never read")
    writer.flush()
    assert slow.getvalue() == ""


def test_a_reader_that_has_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    writer = LogWriter(stream)
    logger = logger_to(writer)
    logger.info("a")
    logger.info("b")
    writer.flush()
    assert writer._thread.is_alive()
    writer.stop()
    writer._thread.join(30)
    assert not writer._thread.is_alive()
    with suppress(BrokenPipeError):
        stream.close()


def test_a_record_that_cannot_be_formatted_is_told_as_what_went_wrong() -> None:
    out = io.StringIO()
    writer = LogWriter(out)
    logger_to(writer).info("%d", "no number")
    writer.flush()
    assert "TypeError" in out.getvalue()
    writer.stop()


def test_it_goes_on_after_logging_was_configured_anew() -> None:
    """As Hypercorn does in its workers: that closes every handler there is."""
    out = io.StringIO()
    writer = LogWriter(out)
    logger = logger_to(writer)
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    logger.info("still here")
    writer.flush()
    assert out.getvalue() == "still here\n"
    writer.stop()

"""What is tried on which machine, and how a call is divided."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.encoders.local import calibrate
from pyrite.encoders.local.arithmetic import candidates, stream_counts, threads_for
from pyrite.encoders.local.calibrate import least_cosine
from pyrite.encoders.local.openvino_runtime import batches
from pyrite.encoders.local.sample import sample_texts


def test_only_native_arithmetic_is_tried() -> None:
    def names(precision: str, *capabilities: str) -> list[str]:
        return [each.name for each in candidates(precision, capabilities)]  # type: ignore[arg-type]

    assert names("exact", "FP32", "INT8") == ["float32"]
    assert names("exact") == ["float32"]
    assert names("exact", "FP32", "BF16") == ["float32", "bfloat16"]
    assert names("exact", "FP32", "BF16", "FP16") == ["float32", "bfloat16", "float16"]
    assert names("fast", "FP32", "INT8") == ["float32", "int8"]
    assert "int8 and bfloat16" in names("fast", "FP32", "INT8", "BF16")


def test_streams_and_threads() -> None:
    assert stream_counts(1) == [1]
    assert stream_counts(2) == [1, 2]
    assert stream_counts(16) == [1, 4, 8]
    assert threads_for(3) == 3
    assert threads_for(0) >= 1


def test_threads_where_no_affinity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads_for(0) == (os.cpu_count() or 1)


@given(st.lists(st.integers(1, 3000), max_size=40), st.integers(1, 8))
def test_batches_hold_each_text_once_within_bounds(lengths: list[int], streams: int) -> None:
    made = batches(lengths, streams)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    assert all(len(each) <= 8 for each in made)
    assert all(len(each) == 1 or len(each) * lengths[each[0]] <= 2048 for each in made)
    ordered = [lengths[index] for batch in made for index in batch]
    assert ordered == sorted(lengths, reverse=True)


def test_a_call_is_shared_out() -> None:
    assert [len(each) for each in batches([200] * 8, 2)] == [2, 2, 2, 2]
    assert [len(each) for each in batches([20] * 8, 2)] == [4, 4]
    assert [len(each) for each in batches([200], 2)] == [1]
    assert [len(each) for each in batches([20] * 64, 2)] == [8] * 8


def test_a_vector_that_is_not_finite_keeps_no_promise() -> None:
    good = np.eye(3, dtype=np.float32)
    assert least_cosine(good, good) == 1
    bad = good.copy()
    bad[1, 1] = np.nan
    assert least_cosine(bad, good) == -1


def test_the_sample_is_varied() -> None:
    texts = sample_texts(256)
    assert "" in texts
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) > 256 * 6
    assert sum(not text.isascii() for text in texts) >= 8


@pytest.mark.process
@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_is_imported_without_what_sends() -> None:
    code = (
        "import sys; from pyrite.encoders.native import import_openvino as i; i();"
        "print([m for m in sys.modules if 'telemetry' in m or 'tools.ovc' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("took", "size"), [
    ({4: 1.0, 8: 1.0, 16: 1.0}, 4),
    ({4: 1.06, 8: 1.0, 16: 0.99}, 8),
    # Of 32 texts in 2 s, one call of 8 ends every half second: too long for an edit.
    ({4: 2.2, 8: 2.0, 16: 1.9}, 4),
    ({4: 9.0, 8: 5.0, 16: 4.0}, 4),
    ({4: 0.3, 8: 0.2, 16: 0.1}, 16),
])  # fmt: skip
def test_the_smallest_call_that_is_nearly_as_fast_as_any_and_soon_over(
    took: dict[int, float], size: int
) -> None:
    assert calibrate._choose(took) == size

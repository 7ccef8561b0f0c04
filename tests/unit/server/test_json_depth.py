"""How deep a JSON text is nested is found without parsing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.server.middleware.json_depth import MAX_DEPTH, too_deep

VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\[]{}é'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\[{'), inner),
    max_leaves=20,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.integers(0, 6), st.booleans())
def test_it_is_as_deep_as_it_is(value: Any, most: int, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode()
    assert too_deep(body, most) is (depth(value) > most)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_limit_is_the_last_that_may_be(pair: tuple[bytes, bytes]) -> None:
    opened, closed = pair
    for levels, expected in ((MAX_DEPTH, False), (MAX_DEPTH + 1, True), (100_000, True)):
        assert too_deep(opened * levels + b"1" + closed * levels) is expected


def test_many_beside_one_another_are_not_deep() -> None:
    assert not too_deep(b"[" + b"[]," * 10_000 + b"1]")


@given(st.binary())
def test_anything_at_all_has_an_answer(body: bytes) -> None:
    assert too_deep(body, 1) in {True, False}


def test_what_ends_within_a_string_is_no_matter() -> None:
    assert not too_deep(b'"' + b"[" * 100)
    assert not too_deep(b'"\\\\\\"' + b"[" * 100)
    assert too_deep(b'"\\\\"' + b"[" * 100)

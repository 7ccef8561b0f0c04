"""Requests' bodies as objects."""

from __future__ import annotations

import time

import pytest
from pydantic import ValidationError

from pyrite.api.parameters import EntryPatch, NewEntry


def test_fields_are_taken_as_they_are_parsed() -> None:
    """Python's lock is held meanwhile: to check each of two million values stops the service."""
    value = [1, {}, "a", None] * 500_000
    begun = time.process_time()
    entry = NewEntry.model_validate({"title": "t", "fields": {"a": value}})
    assert time.process_time() - begun < 0.5
    assert entry.fields["a"] is value


@pytest.mark.parametrize("model", [NewEntry, EntryPatch])
def test_fields_are_an_object(model: type[NewEntry | EntryPatch]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate({"title": "t", "fields": [1]})

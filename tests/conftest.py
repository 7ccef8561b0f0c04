"""What holds for every test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long a made-up example takes is chance on a shared machine, and no test depends on it.
for name, examples in {"quick": 50, "long": 1_000}.items():
    settings.register_profile(
        name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
# `--hypothesis-profile long`, as in `./tests/run --long`, is read after this.
settings.load_profile("quick")

#: Tests that take seconds bear one of these, those that take longest the first.
SLOW = ("model", "process", "repeats", "hypothesis")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have no coverage counted in tests that run the same lines again and again.

    To count takes as long again as they do. Where none is counted at all, the mark must not be
    there: the plugin fails at it.

    Tests that may take seconds go first: the many short ones are left to whichever worker has
    nothing to do, so that all end together.
    """
    items.sort(key=_rank)
    plugin = config.pluginmanager.getplugin("_cov")
    if plugin is None or plugin.cov_controller is None:
        return
    for item in items:
        if item.get_closest_marker("hypothesis") or item.get_closest_marker("repeats"):
            item.add_marker("no_cover")


def _rank(item: pytest.Item) -> int:
    return next((n for n, mark in enumerate(SLOW) if item.get_closest_marker(mark)), len(SLOW))

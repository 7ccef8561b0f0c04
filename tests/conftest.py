"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have no coverage counted in tests that run the same lines again and again.

    To count takes as long again as they do. Where none is counted at all, the mark must not be
    there: the plugin fails at it.
    """
    plugin = config.pluginmanager.getplugin("_cov")
    if plugin is None or plugin.cov_controller is None:
        return
    for item in items:
        if item.get_closest_marker("hypothesis") or item.get_closest_marker("repeats"):
            item.add_marker("no_cover")

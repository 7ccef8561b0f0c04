"""The app for a Hypercorn of its own, with a model that costs nothing."""

from __future__ import annotations

from quart_trio import QuartTrio

from pyrite.server.asgi import create
from tests.integration.launcher import encoder_of_environment


def app() -> QuartTrio:
    return create(encoder=encoder_of_environment())

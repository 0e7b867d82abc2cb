"""What the live tests share: a real control plane and a real engine, or why there is none here."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn, TypeVar

import pytest

from tests.support.controlplane import Assets, ControlPlane, Missing, find_or_build
from tests.support.engine import Engine

T = TypeVar("T")


def unavailable(reason: str) -> NoReturn:
    """Skip the test with the reason; fail it where the environment has `CI=true`."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require(make: Callable[[], T]) -> T:
    """Return what `make` gives; where it raises Missing, the test is skipped, in CI failed."""
    try:
        return make()
    except Missing as missing:
        unavailable(str(missing))


@pytest.fixture(scope="session")
def controlplane_assets() -> Assets:
    """The server binaries, built on first use."""
    return require(find_or_build)


@pytest.fixture(scope="session")
def controlplane(controlplane_assets: Assets) -> Iterator[ControlPlane]:
    """One control plane for the whole run: a test cleans up what others must not see."""
    with require(lambda: ControlPlane.start(controlplane_assets)) as plane:
        yield plane


@pytest.fixture
def fresh_controlplane(controlplane_assets: Assets) -> Iterator[Callable[..., ControlPlane]]:
    """A function that starts a control plane for one test, with the arguments of `start`."""
    with ExitStack() as stack:

        def start(**options: Any) -> ControlPlane:
            plane = require(lambda: ControlPlane.start(controlplane_assets, **options))
            return stack.enter_context(plane)

        yield start


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine for the whole run: the one that runs here, else one of the run's own."""
    with require(Engine.find_or_start) as found:
        yield found

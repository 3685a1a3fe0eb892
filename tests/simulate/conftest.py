"""A bundle and a world, and two days in it that several tests look at."""

from __future__ import annotations

import pytest

from sel_edge.bundle.bundle import Bundle
from tests.simulate.gratings import Lived, live_through, make_bundle, make_world


@pytest.fixture(scope="session")
def gratings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, cache: None) -> str:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def two_days(tmp_path_factory: pytest.TempPathFactory, gratings: Bundle, world: str) -> Lived:
    return live_through(tmp_path_factory.mktemp("lived"), gratings, world)

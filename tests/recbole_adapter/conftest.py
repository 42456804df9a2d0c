"""Planted data, written once."""

from __future__ import annotations

import pytest
from planted_data import PlantedData, plant


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedData:
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def long_histories(tmp_path_factory: pytest.TempPathFactory) -> PlantedData:
    return plant(tmp_path_factory.mktemp("long"), num_users=6, length=70)

"""The toy, trained once."""

from __future__ import annotations

import pytest
from trained_toy import TrainedToy, train_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> TrainedToy:
    return train_toy(tmp_path_factory.mktemp("toy"))

import pytest

from tests.experiments.world import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)

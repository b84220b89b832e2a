import pytest

from tests.datamodules.detection.sparse.cases import coco, write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "in.json", coco())

import pytest

from networks.faces.lite_model import packaged
from visionscapes.errors import UserError


@pytest.fixture(scope="session", autouse=True)
def _files() -> None:
    """The networks come with a package that `make setup` installs; without it these tests have nothing to run."""
    try:
        packaged("face_landmark.tflite")
    except UserError as error:
        pytest.skip(str(error))

"""Whether the networks that find faces are there: `make setup` installs them, other ways need not."""

import pytest

from networks.faces.lite_model import packaged
from visionscapes.errors import UserError


def _missing() -> str:
    try:
        packaged("face_landmark.tflite")
    except UserError as error:
        return str(error)
    return ""


needs_face_files = pytest.mark.skipif(bool(_missing()), reason=_missing() or "they are there")

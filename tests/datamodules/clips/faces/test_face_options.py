import pytest

from datamodules.clips.faces.face_options import FaceOptions
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError


@pytest.mark.parametrize(
    ("choose", "number"), [("largest", None), ("nearest", None), ("0", 0), ("12", 12), (3, 3), (0, 0)]
)
def test_a_face_is_chosen_by_word_or_number(choose: str | int, number: int | None) -> None:
    assert FaceOptions(choose=choose).number == number


@pytest.mark.parametrize(
    "options",
    [
        *({"choose": value} for value in ("left", "-1", -1, "1.5", "²", "")),
        {"least_score": 0},
        {"least_score": 1.1},
        {"longest_gap": -1},
        {"smoothing": float("nan")},
    ],
)
def test_what_makes_no_sense_is_told(options: dict) -> None:
    with pytest.raises(UserError, match=f"FaceOptions.{next(iter(options))} is"):
        FaceOptions(**options)


@needs_face_files
def test_the_networks_are_loaded_once_in_a_process() -> None:
    assert FaceOptions().finder() is FaceOptions(longest_gap=2).finder()
    assert FaceOptions(detector="short_range").finder() is not FaceOptions().finder()


def test_wrong_files_are_told() -> None:
    with pytest.raises(UserError, match=r"nowhere\.tflite is not there"):
        FaceOptions(detector="nowhere.tflite").finder()

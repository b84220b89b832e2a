import numpy as np
import pytest
from skimage import data

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.following import Follower
from datamodules.procedural.faces.faces import render_face
from networks.faces.finder import FaceFinder, FoundFace
from tests.helpers.face_files import needs_face_files

pytestmark = needs_face_files
RATE = 25


def scene(*faces: tuple[int, int, int], width: int = 400) -> np.ndarray:
    """A picture with faces of (person, size, x)."""
    image = np.full((200, width, 3), 110, np.uint8)
    for person, size, x in faces:
        image[:size, x : x + size] = render_face(seed=0, index=person, size=size).image[:, : width - x]
    return image


def places(options: FaceOptions, images: list[np.ndarray]) -> list[int | None]:
    follower = Follower(options, RATE)
    faces = [follower.next(image) for image in images]
    return [None if face is None else round(float(face.landmarks[27:48, 0].mean()), -1) for face in faces]


def test_the_detector_is_hardly_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    find = FaceFinder.find

    def counted(finder: FaceFinder, image: np.ndarray, levels: int) -> list[FoundFace]:
        looked.append(levels)
        return find(finder, image, levels)

    monkeypatch.setattr(FaceFinder, "find", counted)
    images = [np.roll(data.astronaut(), 2 * k, 1) for k in range(30)]
    follower = Follower(FaceOptions(), RATE)
    found = [follower.next(image) for image in images]
    assert len(looked) == 2  # at first, and after a second
    for k, face in enumerate(found):
        assert face is not None
        assert np.abs(face.landmarks - found[0].landmarks - [2 * k, 0]).mean() < 2
    assert follower.shot == 0
    assert follower.most_faces == 1


def test_the_choice_between_faces() -> None:
    small, large = scene((0, 110, 10), (1, 150, 240)), scene((0, 110, 10), (1, 180, 220))
    assert places(FaceOptions(), [small])[0] > 200
    assert places(FaceOptions(choose="0"), [small])[0] < 100
    assert places(FaceOptions(choose=1), [large])[0] > 200
    assert places(FaceOptions(choose=2), [large] * 3) == [None] * 3
    alone = scene((0, 110, 10))
    # The second one comes into the picture, much larger.
    for choose, last in (("largest", True), ("nearest", False), ("1", True)):
        seen = places(FaceOptions(choose=choose), [*[alone] * 3, *[large] * (RATE + 1)])
        assert (seen[-1] > 200) == last, choose


def test_nearest_stays_after_a_cut_and_largest_chooses_anew() -> None:
    before = scene((0, 150, 10))
    after = 255 - scene((2, 110, 30), (1, 150, 240))
    after[:, 30:140], after[:150, 240:390] = (255 - after)[:, 30:140], (255 - after)[:150, 240:390]
    assert places(FaceOptions(choose="nearest"), [before, before, after])[-1] < 150
    assert places(FaceOptions(), [before, before, after])[-1] > 200


def test_a_face_that_goes_and_comes_back() -> None:
    there, empty = scene((0, 120, 50)), scene()
    follower = Follower(FaceOptions(), RATE)
    found = [follower.next(image) is not None for image in [empty, there, there, empty, empty, there]]
    assert found == [False, True, True, False, False, True]


def test_small_faces_are_looked_for_now_and_then_only() -> None:
    levels: list[int] = []

    class Blind:
        def find(self, image: np.ndarray, most: int) -> list[FoundFace]:
            levels.append(most)
            return []

    follower = Follower(FaceOptions(), RATE)
    follower.finder = Blind()  # type: ignore[assignment]
    for _ in range(11):
        follower.next(scene())
    assert levels == [3, 1, 1, 1, 1] * 2 + [3]

import numpy as np
from skimage import data

from datamodules.clips.faces.cuts import CutFinder, beside, colours, shots_of_face, thumbnail
from datamodules.procedural.faces.faces import render_face


def cuts(images: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    return [index for index, image in enumerate(images) if finder.is_cut(image)]


def test_other_pictures_are_a_cut_and_moved_ones_are_not() -> None:
    one, other = data.astronaut(), data.coffee()
    moved = [np.roll(one, 3 * k, 1) for k in range(10)]
    assert cuts([*moved, *[other] * 5, one]) == [10, 15]


def test_a_camera_that_is_turned_quickly_is_no_cut() -> None:
    wide = np.concatenate([data.astronaut(), data.astronaut()[:, ::-1]] * 2, 1)
    assert cuts([wide[:, 16 * k : 16 * k + 1024] for k in range(25)]) == []
    still = wide[:, :1024]
    assert cuts([*[still] * 5, *(wide[:, 16 * k : 16 * k + 1024] for k in range(25))]) == []


def test_colours_are_shares() -> None:
    picture = np.zeros((2, 2, 3), np.float32)
    picture[0, 0] = [255, 16, 15.9]
    assert np.flatnonzero(colours(picture)).tolist() == [0, 15, 16, 17, 32]
    assert np.isclose(colours(picture).sum(), 1)


def test_light_that_goes_on_slowly_is_no_cut() -> None:
    assert cuts([(data.astronaut() * share).astype(np.uint8) for share in np.linspace(0, 1, 25)]) == []


def test_sizes_may_change() -> None:
    image = data.astronaut()
    assert cuts([image, image[::2, ::2], image[:1, :1]]) == [2]
    assert thumbnail(image).shape == (18, 32, 3)


def walk(count: int) -> np.ndarray:
    points = render_face(seed=0, index=0, size=128).landmarks
    return (points + np.linspace(0, 30, count)[:, None, None]).astype(np.float32)


def test_a_face_that_jumps_begins_a_shot() -> None:
    landmarks, seen, none = walk(20), np.ones(20, bool), np.zeros(20, np.int64)
    assert shots_of_face(landmarks, seen, none).max() == 0
    landmarks[7:] += [20, 0]  # of a face of 70 pixels
    assert shots_of_face(landmarks, seen, none).tolist() == [0] * 7 + [1] * 13
    landmarks[15:] *= 1.3
    assert shots_of_face(landmarks, seen, np.r_[0, np.ones(19, int)]).tolist() == [0] + [1] * 6 + [2] * 8 + [3] * 5


def test_a_face_that_moves_quickly_does_not() -> None:
    landmarks = walk(20) + 8 * np.arange(20, dtype=np.float32)[:, None, None]
    assert shots_of_face(landmarks, np.ones(20, bool), np.zeros(20, np.int64)).max() == 0


def test_another_face_after_a_gap_begins_a_shot() -> None:
    landmarks, seen = walk(20), np.ones(20, bool)
    seen[5:9], landmarks[5:9] = False, 0
    assert shots_of_face(landmarks, seen, np.zeros(20, np.int64)).max() == 0
    landmarks[9:] += [200, 0]
    assert shots_of_face(landmarks, seen, np.zeros(20, np.int64)).tolist() == [0] * 9 + [1] * 11


def test_one_face_or_none_is_one_shot() -> None:
    for seen in ([False] * 3, [False, True, False]):
        assert shots_of_face(walk(3), np.array(seen), np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_what_lies_beside_a_face_tells_a_cut() -> None:
    image = data.astronaut()
    covered = image.copy()
    covered[60:260, 130:330] = 0
    box = np.array([170, 70, 290, 220], np.float32)
    finder = CutFinder()
    assert [finder.is_cut(each, box) for each in (image, covered, image, data.coffee())] == [False] * 3 + [True]
    whole = beside(np.array([0, 0, 500, 500], np.float32), (512, 512))
    assert whole.all()
    assert 0.4 < beside(np.array([128, 128, 384, 384], np.float32), (512, 512)).mean() < 0.5


def shots(images: list[np.ndarray], memory: int) -> list[int]:
    finder = CutFinder(memory)
    return [finder.follow(image) for image in images]


def test_a_picture_that_comes_back_is_of_the_shot_that_it_left() -> None:
    one, black, other = data.astronaut(), np.zeros_like(data.astronaut()), data.coffee()
    assert shots([one] * 5 + [black] * 3 + [one] * 4, memory=4) == [0] * 5 + [1] * 3 + [0] * 4
    assert shots([one] * 5 + [black] * 8 + [one] * 4, memory=4) == [0] * 5 + [1] * 8 + [2] * 4
    assert shots([one] * 5 + [black] * 3 + [other] * 4, memory=4) == [0] * 5 + [1] * 3 + [2] * 4
    twice = [one] * 5 + [black] + [one] * 9 + [other] * 4
    assert shots(twice, memory=4) == [0] * 5 + [1] + [0] * 9 + [2] * 4

import numpy as np

from datamodules.procedural.faces.heads import render_head
from datamodules.procedural.faces.occluders import with_hand

HEAD = render_head(0, 3, range(6), 64)
SKIN = (0.8, 0.6, 0.46)


def hands():
    return [
        with_hand(image, points, SKIN, np.random.default_rng(number))
        for number, (image, points) in enumerate(zip(HEAD.images, HEAD.landmarks, strict=True))
    ]


def test_nothing_changes_but_where_the_hand_is():
    for image, (covered, mask) in zip(HEAD.images, hands(), strict=True):
        assert covered.dtype == np.uint8
        grown = mask.copy()
        for axis in (0, 1):
            grown |= np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
        assert (covered[~grown] == image[~grown]).all()
        assert np.abs(covered[mask].astype(int) - image[mask]).mean() > 5


def test_the_hand_hides_a_good_part_of_the_face_and_comes_from_below():
    for points, (_, mask) in zip(HEAD.landmarks, hands(), strict=True):
        (left, top), (right, bottom) = points[17:].min(0).astype(int), points.max(0).astype(int)
        assert 0.25 < mask[top:bottom, left:right].mean() < 0.85
        assert mask[-1].any()


def test_hands_are_functions_of_their_random_numbers():
    (first, mask), (again, _), (other, _) = (
        with_hand(HEAD.images[0], HEAD.landmarks[0], SKIN, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert mask.any()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)

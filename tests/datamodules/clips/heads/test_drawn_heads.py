import pickle

import numpy as np
import pytest
import torch

from datamodules.clips.heads.drawing import draw_landmarks
from datamodules.clips.heads.drawn_heads import drawn_head, finer, reduced
from datamodules.procedural.faces.heads import render_head
from networks.faces.finder import FaceFinder
from networks.faces.heads import DETECTOR
from tests.helpers.face_files import needs_face_files

OPTIONS = {"size": 32, "label_noise": 0.5, "occluded": 0.4}


@pytest.fixture(scope="module")
def head():
    return drawn_head(2, 7, frames=12, digits=3, **OPTIONS)


def test_a_person_is_a_function_of_world_and_number_and_more_frames_change_nothing(head):
    again, fewer, other = (drawn_head(2, index, frames=count, **OPTIONS) for index, count in ((7, 12), (7, 5), (8, 5)))
    assert head.name == "person-007"
    for key in ("images", "landmarks", "drawn", "exact", "noisy", "hidden", "covered"):
        assert np.array_equal(getattr(head, key), getattr(again, key))
        # Frames are painted together, which shows in the rounding of a few pixels.
        difference = np.abs(getattr(head, key)[:5].astype(float) - getattr(fewer, key))
        assert difference.mean() < (0.05 if key in ("images", "covered") else 1e-9)
        assert not np.array_equal(getattr(other, key), getattr(fewer, key))


def test_drawings_are_of_the_landmarks(head):
    assert torch.equal(head.drawings([3])[0], draw_landmarks(head.landmarks[3], 32))


def test_label_maps_are_noisy_and_the_exact_ones_are_known(head):
    noisy, exact = head.labels([1, 4]), head.known([0], [1, 4])["true_labels"]
    assert 0.8 < (noisy == exact).float().mean() < 1
    clean = drawn_head(2, 7, frames=2, size=32)
    assert torch.equal(clean.labels([0, 1]), clean.known([], [0, 1])["true_labels"])
    assert "occluders" not in clean.known([0], [1])


def test_hands_hide_shots_and_never_targets(head):
    hidden = head.known(range(12), [])["occluders"]
    assert hidden[0].any(), "the first frame is hidden"
    assert 2 <= sum(bool(each.any()) for each in hidden) <= 9
    for frame in range(12):
        shot, target = head.shots([frame])[0], head.pictures([frame])[0]
        assert bool((shot != target).any()) == bool(hidden[frame].any())


def test_it_travels_between_processes(head):
    copy = pickle.loads(pickle.dumps(head))
    assert copy.name == head.name
    assert torch.equal(copy.shots([0, 3]), head.shots([0, 3]))


@needs_face_files
def test_landmarks_may_be_those_of_a_detector_which_are_near_the_exact_ones():
    exact = drawn_head(2, 7, frames=4, size=64)
    seen = drawn_head(2, 7, frames=4, size=64, finder=FaceFinder(DETECTOR))
    assert np.array_equal(seen.images, exact.images)
    eyes = np.linalg.norm(exact.landmarks[:, 36] - exact.landmarks[:, 45], axis=-1)
    error = np.linalg.norm(seen.landmarks - exact.landmarks, axis=-1).mean(-1) / eyes
    assert error.min() > 0
    assert error.max() < 0.15
    assert torch.equal(torch.from_numpy(seen.drawn[0]), draw_landmarks(seen.landmarks[0], 64))


@needs_face_files
def test_where_no_face_is_found_landmarks_are_exact():
    exact, seen = (drawn_head(2, 7, frames=2, size=32, finder=each) for each in (None, FaceFinder(least_score=1.0)))
    assert np.array_equal(seen.landmarks, exact.landmarks)


def test_heads_are_drawn_larger_and_reduced_by_the_mean_over_areas():
    head, fine = drawn_head(2, 7, frames=3, size=32), render_head(2, 7, range(3), 64)
    means = fine.images.reshape(3, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(head.images - means).max() <= 0.5
    assert np.allclose(head.landmarks, fine.landmarks / 2)
    assert np.array_equal(head.exact, fine.labels[:, 1::2, 1::2])
    assert finer(512) == 1
    assert reduced(fine, 64) is fine

import math

import pytest
import torch

from metrics.mouth_movement import MouthMovement, inner_opening, silent_frames


def clip(opening, loud):
    """Landmarks with the given opening in pixels, eyes 50 pixels apart, and sound that is loud where it is said."""
    frames = len(opening)
    points = torch.zeros(frames, 68, 2)
    points[:, 45, 0] = 50
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        points[:, lower, 1] = torch.as_tensor(opening, dtype=torch.float32)
        points[:, [upper, lower], 0] = float(upper)
    wave = torch.sin(torch.arange(640 * frames) * 0.2)
    return points, wave * torch.tensor(loud, dtype=torch.float32).repeat_interleave(640)


def test_the_opening_is_that_of_the_inner_lips():
    points, _ = clip([0, 4, 9], [1, 1, 1])
    assert inner_opening(points).tolist() == [0, 4, 9]


def test_a_frame_is_silent_40_db_under_the_loudest_or_below_the_floor():
    _, audio = clip([0] * 4, [1, 0.02, 0.005, 0])
    assert silent_frames(audio, 4).tolist() == [False, False, True, True]
    assert silent_frames(audio[: 640 * 2], 4).tolist() == [False, False, True, True]  # nothing beyond the end
    _, quiet = clip([0] * 3, [0.0005, 0.0005, 0])
    assert silent_frames(quiet, 3).tolist() == [True, True, True]
    assert silent_frames(torch.zeros(0), 0).tolist() == []


def test_movement_is_told_apart_by_sound():
    """10 spoken frames that open and close by 5 pixels, then 14 silent ones that twitch by 1."""
    opening = [0, 5] * 5 + [0, 1] * 7
    points, audio = clip(opening, [1] * 10 + [0] * 14)
    metric = MouthMovement(margin=3)
    metric.update(points, audio)
    figures = metric.compute()
    assert float(figures["movement in speech"].value) == pytest.approx(5 / 50 * 25)
    assert float(figures["movement in silence"].value) == pytest.approx(1 / 50 * 25)
    assert float(figures["silence / speech"].value) == pytest.approx(0.2)


def test_what_moves_within_the_margin_of_a_sound_is_no_fault():
    opening = [5] * 10 + [3, 1] + [0] * 12
    points, audio = clip(opening, [1] * 10 + [0] * 14)
    found = {}
    for margin in (0, 3):
        metric = MouthMovement(margin=margin)
        metric.update(points, audio)
        found[margin] = float(metric.compute()["movement in silence"].value)
    assert found[3] == 0 < found[0]


def test_frames_without_a_face_do_not_count():
    points, audio = clip([0] * 20, [0] * 20)
    points[7, 66, 1] = 1e6
    known = torch.ones(20, dtype=torch.bool)
    known[7] = False
    metric = MouthMovement()
    metric.update(points, audio, known)
    figures = metric.compute()
    assert float(figures["movement in silence"].value) == 0
    assert math.isnan(figures["movement in speech"].value)  # nobody has spoken


def test_parts_add_up():
    whole, parts = MouthMovement(), [MouthMovement(), MouthMovement()]
    for number in range(5):
        opening = torch.rand(40, generator=torch.Generator().manual_seed(number)).tolist()
        one = clip(opening, [1] * 20 + [0] * 20)
        whole.update(*one)
        parts[number % 2].update(*one)
    parts[0].merge_state(parts[1])
    for name, estimate in parts[0].compute().items():
        torch.testing.assert_close(torch.stack(estimate[:2]), torch.stack(whole.compute()[name][:2]), equal_nan=True)

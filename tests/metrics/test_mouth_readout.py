import math

import pytest
import torch

from metrics.mouth_readout import (
    MouthReadout,
    correlation,
    dubbed_opening,
    pixels_of,
    stands_still,
)
from tests.helpers.dubbed_pairs import faces_of, person


def series(seed, frames=50):
    return torch.randn(frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("index", [0, 1])
def test_true_mouths_are_read_in_frames_that_the_readout_has_not_seen(index):
    clip = person(index)
    opening = torch.from_numpy(clip.opening)
    readout = MouthReadout(faces_of(clip), opening)
    assert readout.reliability > 0.95
    assert 0.9 < readout.scale <= 1.05
    found = dubbed_opening(readout.held_out, opening, opening, readout.scale)
    assert float(found["amplitude"]) == pytest.approx(1)
    assert float(found["r own"]) == pytest.approx(readout.reliability)


def test_a_perfect_dub_follows_the_driving_mouth_with_all_of_its_movement():
    own, driving, dub = person(0), person(1), person(0, 1)
    openings = [torch.from_numpy(clip.opening) for clip in (driving, own)]
    readout = MouthReadout(faces_of(own), openings[1])
    found = dubbed_opening(readout.read(faces_of(dub)), *openings, readout.scale)
    assert float(found["r driving"]) > 0.95
    assert abs(float(found["r own"]) - correlation(*openings)) < 0.1
    assert float(found["amplitude"]) == pytest.approx(1, abs=0.2)


def test_copying_the_video_follows_its_own_mouth():
    own, driving = person(0), person(1)
    openings = [torch.from_numpy(clip.opening) for clip in (driving, own)]
    readout = MouthReadout(faces_of(own), openings[1])
    found = dubbed_opening(readout.read(faces_of(own)), *openings, readout.scale)
    assert float(found["r own"]) > 0.99
    assert abs(float(found["r driving"]) - correlation(*openings)) < 0.05


def test_a_mouth_that_stands_still_follows_nothing_and_has_no_amplitude():
    own = person(0)
    opening = torch.from_numpy(own.opening)
    readout = MouthReadout(faces_of(own), opening)
    reading = readout.read(faces_of(own)[:1].expand(len(own), -1, -1, -1))
    assert {name: float(value) for name, value in dubbed_opening(reading, opening, opening, readout.scale).items()} == {
        "r driving": 0,
        "r own": 0,
        "amplitude": 0,
    }


def test_half_the_movement_is_an_amplitude_of_one_half_whatever_the_readout_shrinks():
    driving, own = series(0), series(1)
    found = dubbed_opening(3 + 0.5 * 0.8 * driving, driving, own, scale=0.8)
    assert float(found["amplitude"]) == pytest.approx(0.5)
    assert float(found["r driving"]) == pytest.approx(1)
    assert float(found["r own"]) == pytest.approx(float(torch.corrcoef(torch.stack([driving, own]))[0, 1]))


def test_pixels_that_know_nothing_of_the_mouth_are_told_by_the_frames_left_out():
    noise = torch.randint(0, 256, (40, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    readout = MouthReadout(noise, series(0, 40))
    assert abs(readout.reliability) < 0.5
    assert readout.scale < 0.5


def test_the_readout_is_ridge_regression():
    faces = torch.randint(0, 256, (12, 3, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    truth = series(2, 12)
    readout = MouthReadout(faces, truth)
    pixels = pixels_of(faces)
    assert pixels.shape == (12, 3 * 2 * 4)
    centred, target = pixels - pixels.mean(0), truth - truth.mean()
    variance = centred.square().sum() / 12
    candidates = []
    for penalty in torch.logspace(-5, 1, 41, dtype=torch.float64) * variance:
        hat = centred @ torch.linalg.solve(
            centred.T @ centred + penalty * torch.eye(24, dtype=torch.float64), centred.T
        )
        error = (target - hat @ target).square().mean() / (1 - hat.trace() / 12) ** 2
        candidates.append((float(error), hat @ target + truth.mean()))
    expected = min(candidates, key=lambda each: each[0])[1]
    torch.testing.assert_close(readout.read(faces), expected, rtol=1e-6, atol=1e-8)


def test_only_the_lower_half_counts_and_faces_of_any_size_are_read():
    faces = torch.randint(0, 256, (12, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    other = faces.clone()
    other[:, :, :32] = 0
    readout = MouthReadout(faces, series(3, 12))
    assert pixels_of(faces).shape == (12, 3 * 16 * 32)
    torch.testing.assert_close(readout.read(other), readout.read(faces))


def test_pixels_that_were_not_generated_are_not_looked_at():
    faces = torch.randint(0, 256, (12, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    where = torch.zeros(64, 64, dtype=torch.bool)
    where[35:61, 10:50] = True
    where[35, 10] = False
    other = torch.where(where, faces, 7)
    readout = MouthReadout(faces, series(3, 12), where)
    torch.testing.assert_close(readout.read(other), readout.read(faces))
    assert pixels_of(faces, where).shape == (12, 3 * 13 * 20)
    assert not torch.equal(MouthReadout(faces, series(3, 12)).read(faces), readout.read(faces))
    small = faces[:, :, :16, :16]
    torch.testing.assert_close(pixels_of(small, where[30:46, :16])[:, -6:], small[:, 2, 15, 10:].double() / 255)


def test_where_nothing_was_generated_the_mean_is_read():
    faces = faces_of(person(0))
    readout = MouthReadout(faces, torch.from_numpy(person(0).opening), torch.zeros(48, 48, dtype=torch.bool))
    assert stands_still(readout.read(faces))
    assert abs(readout.reliability) < 1


def test_frames_that_do_not_change_are_read_as_the_mean():
    readout = MouthReadout(torch.full((12, 3, 8, 8), 100, dtype=torch.uint8), series(4, 12))
    torch.testing.assert_close(readout.read(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), series(4, 12).mean().expand(2))
    assert readout.scale < 0.5


def test_series_that_say_nothing():
    assert correlation(torch.ones(9), series(0, 9)) == 0
    assert stands_still(torch.zeros(0))
    few = dubbed_opening(series(0, 5), series(1, 5), series(2, 5))
    assert all(math.isnan(value) for value in few.values())
    shut = dubbed_opening(series(0), torch.zeros(50), series(1))
    assert float(shut["r driving"]) == 0
    assert math.isnan(shut["amplitude"])
    assert MouthReadout(faces_of(person(0)), torch.zeros(len(person(0)))).scale == 0


def test_long_clips_are_fitted_to_some_of_their_frames():
    faces = torch.randint(0, 256, (1203, 3, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    readout = MouthReadout(faces, faces[:, 0, 3, 0].double())
    assert len(readout.held_out) == 401
    assert correlation(readout.read(faces), faces[:, 0, 3, 0]) > 0.999

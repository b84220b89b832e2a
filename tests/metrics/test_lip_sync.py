import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metrics.lip_sync import LipSync, offset_distances, sync_scores


def speech(windows, seed=0):
    return F.normalize(torch.randn(windows, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def late(k, windows=60, seed=0):
    """A clip whose sound is late by k frames: what the video shows at s is heard at s + k."""
    world = speech(windows + abs(k), seed)
    return (world[k:], world[:windows]) if k >= 0 else (world[:windows], world[-k:])


@pytest.mark.parametrize("shift", [-15, -7, -1, 0, 1, 4, 15])
def test_the_offset_is_above_0_where_the_sound_is_late(shift):
    score = sync_scores(*late(shift))
    assert score.offset == shift
    assert score.distance == pytest.approx(0, abs=1e-6)
    assert score.confidence > 1  # others are at right angles: a distance of sqrt(2)


def test_a_shift_beyond_the_reach_is_not_found():
    assert sync_scores(*late(9), reach=8).confidence < 0.3
    assert sync_scores(*late(9), reach=9).offset == 9


def test_it_equals_the_plain_formula():
    video, audio = speech(40), speech(40, seed=1)
    offsets, distances = offset_distances(video, audio, reach=6)
    assert offsets.tolist() == list(range(-6, 7))
    for offset, distance in zip(offsets.tolist(), distances.tolist(), strict=True):
        pairs = [(s, s + offset) for s in range(40) if 0 <= s + offset < 40]
        plain = np.mean([np.linalg.norm(video[s].numpy() - audio[t].numpy()) for s, t in pairs])
        assert distance == pytest.approx(plain, abs=1e-6)
    score = sync_scores(video, audio, reach=6)
    values = sorted(distances.tolist())
    assert (score.confidence, score.distance) == pytest.approx((values[6] - values[0], values[0]))


def test_long_clips_are_summed_in_parts():
    windows = 4096 + 500
    video, audio = late(3, windows)
    assert sync_scores(video, audio).offset == 3
    assert float(offset_distances(video, audio, 3)[1][-1]) == pytest.approx(0, abs=1e-6)


def test_offsets_of_short_clips_are_judged_by_five_windows_at_least():
    offsets, _ = offset_distances(speech(8), speech(8))
    assert offsets.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert sync_scores(*late(2, windows=8)).offset == 2
    for windows in (0, 1, 4, 5):
        score = sync_scores(speech(windows), speech(windows))
        assert score.offset is None
        assert math.isnan(score.confidence)
        assert math.isnan(score.distance)


def test_windows_without_a_face_do_not_count():
    video, audio = late(2)
    known = torch.ones(60, dtype=torch.bool)
    known[10:40] = False
    video = video.clone()
    video[10:40] = speech(30, seed=5)
    assert sync_scores(video, audio, known=known).distance == pytest.approx(0, abs=1e-6)
    assert sync_scores(video, audio).distance > 0.5
    assert sync_scores(video, audio, known=torch.zeros(60, dtype=torch.bool)).offset is None


def test_silence_has_no_confidence_and_noise_little():
    video = speech(200)
    assert sync_scores(video, speech(1).expand(200, -1)).confidence < 0.02  # one embedding throughout
    noise = [sync_scores(video, speech(200, seed=seed)).confidence for seed in range(1, 9)]
    assert max(noise) < 0.1 < sync_scores(video, video).confidence


def test_embeddings_that_are_not_finite_have_no_offset():
    video = speech(60)
    video[30] = torch.nan
    assert sync_scores(video, speech(60)).offset is None


def test_the_means_over_clips_are_those_of_the_clips_and_parts_add_up():
    shifts = [0, 1, -1, 4, -2]
    whole, parts = LipSync(), [LipSync(), LipSync()]
    for number, shift in enumerate(shifts):
        clip = late(shift, seed=number)
        whole.update(*clip)
        parts[number % 2].update(*clip)
    whole.update(speech(3), speech(3))  # too short, does not count
    figures = whole.compute()
    assert float(figures["offset"].value) == pytest.approx(np.mean(np.abs(shifts)))
    assert float(figures["within 1 frame"].value) == pytest.approx(3 / 5)
    assert figures["within 1 frame"].count == 5
    assert float(figures["offset"].standard_error) == pytest.approx(np.std(np.abs(shifts), ddof=1) / 5**0.5)
    assert whole.histogram().tolist() == [shifts.count(k) for k in range(-15, 16)]
    parts[0].merge_state(parts[1])
    for name, estimate in parts[0].compute().items():
        torch.testing.assert_close(torch.stack(estimate[:2]), torch.stack(figures[name][:2]))


def test_a_process_that_has_seen_no_clip_has_no_figures():
    metric = LipSync()
    assert math.isnan(metric.compute()["Sync_c"].value)
    assert metric.histogram().sum() == 0

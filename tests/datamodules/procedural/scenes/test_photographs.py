import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datamodules.procedural.scenes import photographs
from datamodules.procedural.scenes.photographs import HELD_OUT, TRAINING, photograph, render_crop, render_warp


def test_training_and_held_out_photographs_are_disjoint():
    assert not set(TRAINING) & set(HELD_OUT)
    thumbnails = {name: photograph(name).resize((16, 16)).tobytes() for name in (*TRAINING, *HELD_OUT)}
    assert len(set(thumbnails.values())) == len(thumbnails), "nor is one the copy of another"


@pytest.mark.parametrize("held_out", [False, True])
def test_crops_are_cut_from_their_own_photographs(held_out, monkeypatch):
    opened = set()
    monkeypatch.setattr(photographs, "photograph", lambda name: opened.add(name) or photograph(name))
    for index in range(12):
        render_crop(0, index, 8, held_out)
    assert opened == set(HELD_OUT if held_out else TRAINING)


def test_crops_follow_from_seed_and_index():
    crop = render_crop(3, 4, 32)
    assert crop.shape == (32, 32, 3)
    assert crop.dtype == np.uint8
    assert np.array_equal(crop, render_crop(3, 4, 32))
    others = [render_crop(4, 4, 32), render_crop(3, 4 + len(TRAINING), 32), render_crop(3, 4, 32, held_out=True)]
    assert not any(np.array_equal(crop, other) for other in others)


def test_a_crop_at_another_size_shows_the_same_place():
    large, small = (torch.from_numpy(render_crop(0, 1, size)).permute(2, 0, 1).float() / 255 for size in (64, 32))
    assert (F.avg_pool2d(large, 2) - small).abs().mean() < 0.02


def smooth(image):
    tensor = torch.from_numpy(image).permute(2, 0, 1).float()[None] / 255
    return F.avg_pool2d(F.pad(tensor, (3, 3, 3, 3), mode="replicate"), 7, stride=1)


def colours(image, points):
    """Return (K, 3) of the smoothed image at points (K, 2) xy in pixels, bilinearly."""
    grid = torch.from_numpy(points)[None, None] / image.shape[0] * 2 - 1
    return F.grid_sample(smooth(image), grid, padding_mode="border", align_corners=False)[0, :, 0].T


def test_points_of_a_warp_show_the_same_spot():
    right, wrong, count = [], [], 0
    for index in range(12):
        source, target, marked, wanted = render_warp(0, index, 96)
        assert source.shape == target.shape == (96, 96, 3)
        assert marked.shape == wanted.shape
        assert ((marked > 0) & (marked < 96)).all()
        count += len(marked)
        seen = colours(source, marked)
        right.append((seen - colours(target, wanted)).abs().mean(1))
        wrong.append((seen - colours(target, (wanted + 24) % 96)).abs().mean(1))
    assert count > 100
    assert torch.cat(right).median() < 0.015
    assert torch.cat(right).mean() < torch.cat(wrong).mean() / 4


def test_a_warp_is_not_the_identity_and_follows_from_its_seed():
    first, again = render_warp(0, 1, 48), render_warp(0, 1, 48)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.abs(first[2] - first[3]).max() > 2

from functools import partial

import numpy as np
import torch

from datamodules.procedural.scenes.samples import (
    OnDemand,
    Rendered,
    keypoint_pair,
    resized,
    scene_pair,
    scene_video,
    squashed,
)
from datamodules.procedural.scenes.scenes import render_pair, render_video


def test_rendered_keeps_images_and_columns():
    images = list(np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8))
    made = Rendered(images, label=[4, 5, 6], caption=["a", "b", "c"])
    assert len(made) == 3
    sample = made[1]
    assert sample.keys() == {"image", "index", "label", "caption"}
    assert (sample["index"], sample["label"], sample["caption"]) == (1, 5, "b")
    np.testing.assert_allclose(sample["image"].permute(1, 2, 0) * 255, images[1], atol=1e-4)


def test_on_demand_asks_for_each_sample_when_it_is_needed():
    asked = []
    dataset = OnDemand(3, lambda index, side: asked.append((index, side)) or {"index": index}, 16)
    assert len(dataset) == 3
    assert not asked
    assert dataset[2] == {"index": 2}
    assert asked == [(2, 16)]


def test_squashing_averages_what_it_drops():
    checks = np.indices((32, 32)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    small = squashed(image, 8)
    assert (small.shape, small.dtype) == ((8, 8, 3), np.uint8)
    assert np.abs(small.astype(float) - 127.5).max() < 4
    assert torch.equal(resized(image, 8), torch.from_numpy(small.copy()).permute(2, 0, 1).float() / 255)
    assert np.array_equal(squashed(image, 32), image)


def test_keypoints_scale_with_the_image():
    blank, points = np.zeros((40, 40, 3), np.uint8), np.array([[10.0, 30.0], [0.5, 39.5]], np.float32)
    pair = keypoint_pair("name", blank, blank, points, points, extent=20.0, category=3, side=20)
    assert pair["source_keypoints"].tolist() == [[5, 15], [0, 19]]
    assert pair["target_keypoints"].tolist() == [[4.5, 14.5], [-0.25, 19.25]]
    assert pair["target_box_size"] == 10
    assert pair["category"] == 3


def test_a_pair_shows_the_same_points_at_every_side():
    small, large = (scene_pair(0, 4, 64, side) for side in (32, 64))
    assert torch.equal(small["source_keypoints"], (large["source_keypoints"] / 2).floor())
    torch.testing.assert_close(small["target_keypoints"] + 0.5, (large["target_keypoints"] + 0.5) / 2)
    source = render_pair(0, 4, 64)[0]
    assert torch.equal(large["source_image"], torch.from_numpy(source.image).permute(2, 0, 1).float() / 255)


def test_a_video_keeps_its_masks():
    frames, masks = render_video(0, 2, 48, 3)
    sample = scene_video(0, 2, 48, 3, side=24)
    assert sample["frames"].shape == (3, 3, 24, 24)
    assert torch.equal(sample["masks"], torch.from_numpy(masks).long())
    assert torch.equal(sample["frames"][1], resized(frames[1], 24))
    render = partial(scene_video, 0, size=48, frames=3, side=24)
    assert render(index=2)["name"] == "video-2" != render(index=1)["name"]

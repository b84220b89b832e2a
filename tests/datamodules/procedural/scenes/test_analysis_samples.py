from collections import Counter

import numpy as np
import pytest
import torch

from datamodules.procedural.scenes import analysis_samples as analysis
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.samples import resized
from datamodules.procedural.scenes.scenes import render_scene
from datamodules.procedural.scenes.subjects import render_subject

SIDE = 32
PAIRS = [(k, part.name) for k, item in enumerate(CLASSES) for part in item.parts]


def test_a_picture_is_the_large_rendering_squashed():
    sample, scene = analysis.picture(0, 15, SIDE), render_subject(0, 15, 2 * SIDE)
    assert torch.equal(sample["image"], resized(scene.image, SIDE))
    assert (sample["label"], sample["index"]) == (3, 15)


@pytest.mark.parametrize("index", range(6))
def test_the_salient_pixels_are_those_of_all_objects(index):
    sample, scene = analysis.salient(0, index, SIDE), render_subject(0, index, 2 * SIDE)
    mask = torch.from_numpy(scene.instances > 0)
    share = mask.view(SIDE, 2, SIDE, 2).float().mean((1, 3))
    assert sample["mask"].dtype == torch.bool
    assert torch.equal(sample["mask"], share >= 0.5)
    assert torch.equal(sample["image"], resized(scene.image, SIDE))


@pytest.mark.parametrize("index", range(12))
def test_objects_agree_with_the_rendered_instances(index):
    sample, scene = analysis.scene_objects(0, index, SIDE), render_scene(0, index, 2 * SIDE, tail=0.0)
    kept = [n for n in range(1, len(scene.objects) + 1) if (scene.instances == n).sum() >= 16]
    assert torch.equal(sample["masks"], torch.from_numpy(np.stack([scene.instances == n for n in kept])))
    assert sample["label"].tolist() == [int(scene.labels[n - 1]) for n in kept]
    assert torch.equal(sample["image"], resized(scene.image, 2 * SIDE))


@pytest.mark.parametrize("index", range(12))
def test_parts_are_pieces_of_the_rendered_instances(index):
    sample, scene = analysis.subject_parts(0, index, SIDE), render_subject(0, index, 2 * SIDE)
    masks, together = sample["masks"], sample["masks"].sum(0)
    assert masks.dtype == torch.bool
    assert together.max() == 1
    assert not (together.numpy() * (scene.instances == 0)).any()
    assert masks.sum((1, 2)).min() >= 16
    left_out = ((scene.instances > 0) & (together.numpy() == 0)).sum()
    assert left_out < 16 * sum(len(item.object_class.parts) for item in scene.objects)
    for label, mask in zip(sample["label"].tolist(), masks.numpy(), strict=True):
        class_index, name = PAIRS[label]
        (n,) = np.unique(scene.instances[mask])
        (p,) = np.unique(scene.parts[mask])
        item = scene.objects[n - 1]
        assert item.class_index == class_index
        assert item.object_class.parts[p - 1].name == name


@pytest.mark.parametrize("render", [analysis.scene_objects, analysis.subject_parts])
def test_there_is_always_a_mask_even_in_tiny_pictures(render):
    for index in range(24):
        sample = render(0, index, 8)
        assert len(sample["masks"]) == len(sample["label"]) >= 1
        assert sample["masks"].sum((1, 2)).min() >= 16


def test_scenes_of_objects_are_uniform_over_classes():
    labels = Counter(label for i in range(150) for label in analysis.scene_objects(0, i, 16)["label"].tolist())
    assert len(labels) == 12
    assert max(labels.values()) < 3 * min(labels.values())


def test_positions_point_at_the_views_of_the_query():
    """Positives share the query's individual, so the database is told apart by the scenes it is rendered from."""
    instances, size = 3, 3 * 7 + 5
    seen = []
    for index in range(instances):
        query = analysis.query(0, index, SIDE, instances=instances)
        assert [len(query[key]) for key in ("easy", "hard", "junk")] == [3, 3, 1]
        seen += torch.cat([query[key] for key in ("easy", "hard", "junk")]).tolist()
        for key, first in (("easy", 1), ("hard", 4), ("junk", 7)):
            for view, position in enumerate(query[key].tolist(), first):
                scene, _ = analysis.render_view(0, index, index, view, 2 * SIDE)
                found = analysis.database(0, position, SIDE, instances=instances)
                assert found["index"] == position
                assert torch.equal(found["image"], resized(scene.image, SIDE))
    assert sorted(seen) == list(range(21)), "no position twice, and none is a distractor"
    images = [analysis.database(0, index, SIDE, instances=instances)["image"] for index in range(size)]
    assert len({image.numpy().tobytes() for image in images}) == size


def test_distractors_are_other_individuals_of_the_same_classes():
    instances = 3
    queries = [analysis.query(0, index, SIDE, instances=instances)["image"] for index in range(instances)]
    for index in range(21, 27):
        number = index - 21 + instances
        scene, n = analysis.render_view(0, number, number % instances, 0, 2 * SIDE)
        assert scene.labels[n] < instances
        image = analysis.database(0, index, SIDE, instances=instances)["image"]
        assert torch.equal(image, resized(scene.image, SIDE))
        assert not any(torch.equal(image, query) for query in queries)


def test_both_videos_are_one():
    small, large = analysis.video(0, 1, SIDE, frames=2), analysis.dense_video(0, 1, SIDE, frames=2)
    assert (small["task"], large["task"]) == ("video", "dense-video")
    assert torch.equal(small["masks"], large["masks"])
    assert (small["frames"].shape[-1], large["frames"].shape[-1]) == (SIDE, 2 * SIDE)
    halved = torch.nn.functional.avg_pool2d(large["frames"], 2)
    assert (halved - small["frames"]).abs().mean() < 0.03


def test_one_image_of_regions_a_batch():
    sample = analysis.scene_objects(0, 0, SIDE)
    batch = analysis.collate_regions("objects", [sample])
    assert batch["task"] == "objects"
    assert batch["image"].shape == (1, 3, 2 * SIDE, 2 * SIDE)
    assert torch.equal(batch["masks"], sample["masks"])
    with pytest.raises(ValueError, match="unpack"):
        analysis.collate_regions("objects", [sample, sample])

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from datamodules.dense.scene_world import SceneWorld
from datamodules.detection.scenes import DetectionScenes
from datamodules.images.views import RandomViews
from datamodules.procedural.scenes import photographs
from datamodules.procedural.scenes.photographs import HELD_OUT, photograph
from metrics.pck import PercentageOfCorrectKeypoints
from networks.correspondence import match_keypoints
from networks.vit_features import ViTFeatures
from tests.helpers.image_files import save_photos
from visionscapes.errors import UserError

ALL = ["images", "keypoints", "warps", "video", "discovery"]
SMALL = {
    "scenes": 10,
    "crops": 5,
    "image_size": 48,
    "image_sizes": [24, 32],
    "batch_size": 4,
    "held_out": 7,
    "pairs": 6,
    "videos": 2,
    "frames": 3,
    "discoveries": 5,
}


def world(stage="fit", **changes):
    made = SceneWorld(**{**SMALL, "tasks": ALL, **changes})
    made.setup(stage)
    return made


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def is_image(tensor, *shape):
    return tuple(tensor.shape) == shape and tensor.dtype == torch.float32 and 0 <= tensor.min() <= tensor.max() <= 1


def test_training_batches():
    made = world()
    batches = list(made.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch["task"] == "images"
        assert is_image(batch["image"], 4, 3, 48, 48)
        assert batch["index"].dtype == torch.int64
    assert len({int(i) for batch in batches for i in batch["index"]}) == 12


def test_the_images_that_are_said_to_repeat_are_those_of_the_batches():
    made = world()
    parts = made.repeated_images()
    batches = [*made.train_dataloader(), *made.train_dataloader()]
    for part, shown in (("train", batches), ("validate", made.val_dataloader()["images@48"])):
        for batch in shown:
            for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
                assert torch.equal(parts[part][index]["image"], image)
    assert list(world(tasks=["video"]).repeated_images()) == ["train"]


def test_loaders_are_named_by_task_and_size():
    made = world()
    sizes = [f"{task}@{size}" for task in ALL[1:] for size in (24, 32)]
    assert sorted(made.test_dataloader()) == sorted(["images@48", *sizes])
    assert list(made.val_dataloader()) == ["images@48"]
    assert world(tasks=["video"]).val_dataloader() == {}
    assert list(world("test", tasks=["video"], image_sizes=[16]).test_dataloader()) == ["video@16"]


def test_held_out_images_are_counted_exactly():
    batches = list(world("test").test_dataloader()["images@48"])
    assert [len(batch["image"]) for batch in batches] == [4, 3]
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(7))


@pytest.mark.parametrize("task", ["keypoints", "warps"])
@pytest.mark.parametrize("size", [24, 32])
def test_pairs(task, size):
    (batch,) = list(world("test").test_dataloader()[f"{task}@{size}"])
    assert batch["task"] == task
    assert is_image(batch["source_image"], 6, 3, size, size)
    assert is_image(batch["target_image"], 6, 3, size, size)
    valid = batch["keypoint_valid"]
    assert valid.dtype == torch.bool
    assert valid.sum() > 12
    for side in ("source_keypoints", "target_keypoints"):
        assert batch[side].dtype == torch.float32
        assert batch[side].shape == (*valid.shape, 2)
        assert (batch[side][valid] > -1).all()
        assert (batch[side][valid] < size).all()
    assert batch["target_box_size"].shape == (6,)
    assert ((batch["target_box_size"] > size / 8) & (batch["target_box_size"] <= size)).all()
    assert batch["category"].dtype == torch.int64
    assert len(set(batch["pair"])) == 6


def test_videos():
    first, second = list(world("test").test_dataloader()["video@32"])
    assert first["task"] == "video"
    assert is_image(first["frames"], 3, 3, 32, 32)
    assert first["masks"].shape == (3, 48, 48), "masks keep the size at which the scene was rendered"
    assert first["masks"].dtype == torch.int64
    assert first["masks"][0].unique().tolist() == [0, 1, 2]
    assert first["name"] != second["name"]


def test_discovery():
    (batch,) = list(world("test").test_dataloader()["discovery@32"])
    assert batch["task"] == "discovery"
    assert is_image(batch["image"], 5, 3, 32, 32)
    assert len(batch["boxes"]) == len(set(batch["image_id"])) == 5
    for boxes in batch["boxes"]:
        assert boxes.dtype == torch.float32
        assert 1 <= len(boxes) <= 2
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert boxes.min() >= 0
        assert boxes.max() <= 32


def test_everything_follows_from_the_seed():
    first, again, other = world(), world(), world(seed=1)
    for name, loader in first.test_dataloader().items():
        assert equal(list(loader), list(again.test_dataloader()[name])), name
        assert not equal(list(loader), list(other.test_dataloader()[name])), name
    assert equal(list(first.train_dataloader()), list(again.train_dataloader()))
    assert not equal(list(first.train_dataloader()), list(other.train_dataloader()))


def test_evaluation_shows_what_training_never_saw():
    made = world(scenes=40, held_out=40)
    trained = {image.numpy().tobytes() for image in made.train_set.images}
    held_out = {image.numpy().tobytes() for image in made.held_out_set.images}
    assert len(trained) == 45
    assert len(held_out) == 40
    assert not trained & held_out


def test_evaluation_opens_held_out_photographs_only(monkeypatch):
    opened = set()
    monkeypatch.setattr(photographs, "photograph", lambda name: opened.add(name) or photograph(name))
    for loader in world("test").test_dataloader().values():
        list(loader)
    assert opened == set(HELD_OUT)


def test_views_are_drawn_for_training_only_and_follow_from_the_step():
    made = world(views=RandomViews([16], small_views=1, small_size=8))
    batch = next(iter(made.train_dataloader()))

    def views(step, training=True):
        made.trainer = SimpleNamespace(training=training, global_step=step)
        return made.on_after_batch_transfer({"image": batch["image"]}, 0).get("views")

    assert views(0, training=False) is None
    assert torch.equal(views(3).boxes, views(3).boxes)
    assert not torch.equal(views(3).boxes, views(4).boxes)
    assert [view.shape[-1] for view in views(3).images] == [16, 16, 8]


def test_predict_reads_a_folder(tmp_path):
    paths = save_photos(tmp_path, 3)
    made = world("predict", root=str(tmp_path), predict_size=20)
    batches = list(made.predict_dataloader())
    assert [batch["path"] for batch in batches] == [[str(path)] for path in sorted(paths)]
    assert all(batch["task"] == "predict" and is_image(batch["image"], 1, 3, 15, 20) for batch in batches)


@pytest.mark.parametrize(
    ("changes", "stage", "named"),
    [
        ({"tasks": ["imges"]}, "fit", "imges"),
        ({"scenes": 0, "crops": 0}, "fit", "scenes"),
        ({"image_sizes": [0]}, "fit", "image_sizes"),
        ({"batch_size": 99}, "loader", "batch_size"),
        ({}, "predict", "root"),
    ],
)
def test_mistakes_are_named(changes, stage, named):
    with pytest.raises(UserError, match=named):
        world(stage.replace("loader", "fit"), **changes).train_dataloader()


def test_the_matcher_finds_known_warps_of_photographs():
    """Sanity check: the truth of a warp is known exactly, so the kept backbone has to find it, far above chance."""
    with open("configs/lift.yaml") as file:
        arguments = yaml.safe_load(file)["model"]["init_args"]["backbone"]["init_args"]
    features, metric = ViTFeatures(**arguments), PercentageOfCorrectKeypoints([0.1], variants=["", " (chance)"])
    made, generator = world("test", image_size=128, image_sizes=[128], pairs=24), np.random.default_rng(0)
    for batch in made.test_dataloader()["warps@128"]:
        with torch.no_grad():
            sources, targets = features(batch["source_image"]), features(batch["target_image"])
        for index, valid in enumerate(batch["keypoint_valid"]):
            marked, wanted = batch["source_keypoints"][index, valid], batch["target_keypoints"][index, valid]
            found = match_keypoints(sources[index], targets[index], marked, (128, 128))[0]
            guessed = torch.from_numpy(generator.uniform(0, 128, wanted.shape)).float()
            metric.update(torch.stack([found, guessed]), wanted, batch["target_box_size"][index], 0)
    shares = {name: float(estimate.value) for name, estimate in metric.compute().items()}
    assert shares["PCK@0.1 (chance)"] < 0.06
    assert shares["PCK@0.1"] > 0.3  # measured: 0.48


def test_crowded_scenes_are_those_of_detection():
    made = world(scenes=1, crops=0, crowds=3, batch_size=2)
    detected = DetectionScenes(scenes=3, test_scenes=1, image_size=48, batch_size=1)
    detected.setup("fit")
    assert len(made.train_set) == 4
    for k, each in enumerate(detected.training_images(), 1):
        assert torch.equal(made.train_set[k]["image"], torch.from_numpy(each.read()).permute(2, 0, 1).float() / 255)

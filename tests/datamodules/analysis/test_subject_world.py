from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.analysis.subject_world import TASKS, SubjectWorld
from datamodules.images.views import RandomViews, crop_and_resize
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.procedural.scenes.subjects import describe, render_subject
from visionscapes.errors import UserError

SIZE = 32
SMALL = {
    "subjects": 26,
    "image_size": 40,
    "crop_size": 32,
    "batch_size": 8,
    "size": 32,
    "held_out": 14,
    "images": 30,
    "saliency": 7,
    "objects": 5,
    "parts": 4,
    "neighbours": 24,
    "queries": 13,
    "instances": 3,
    "distractors": 5,
    "pairs": 6,
    "videos": 2,
    "frames": 3,
    "analysis_batch": 6,
}
NAMES = {item.name for item in CLASSES}
LOADERS = [f"{task}@{64 if task in ('objects', 'parts', 'dense-video') else 32}" for task in TASKS]


def world(stage="fit", **changes):
    made = SubjectWorld(**{**SMALL, **changes})
    made.setup(stage)
    return made


@pytest.fixture(scope="module")
def batches():
    """All batches of every evaluation loader."""
    return {name: list(loader) for name, loader in world("test").test_dataloader().items()}


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


def is_ids(tensor, count):
    return tensor.shape == (count,) and tensor.dtype == torch.int64


def joined(batches, key):
    return torch.cat([batch[key] for batch in batches])


def transferred(made, batch, step, training=True):
    made.trainer = SimpleNamespace(training=training, global_step=step)
    return made.on_after_batch_transfer(dict(batch), 0)


def test_training_batches():
    made = world()
    found = list(made.train_dataloader())
    assert len(found) == 3
    for batch in found:
        assert batch.keys() == {"task", "image", "index", "label", "caption"}
        assert batch["task"] == "images"
        assert is_image(batch["image"], 8, 3, 40, 40)
        assert is_image(transferred(made, batch, 0)["image"], 8, 3, 32, 32)
        assert is_ids(batch["index"], 8)
        assert is_ids(batch["label"], 8)
        for index, label, caption in zip(batch["index"].tolist(), batch["label"], batch["caption"], strict=True):
            scene = render_subject(0, index, 40)
            assert label == scene.labels[-1]
            assert caption == describe(0, index, scene)
            assert next(word for word in caption.split() if word in NAMES) == CLASSES[label].name


def test_classes_are_about_equally_frequent():
    counts = Counter(world(subjects=40).train_set.columns["label"])
    assert len(counts) == 12
    assert max(counts.values()) - min(counts.values()) <= 1


def test_crops_follow_from_seed_and_step_and_happen_in_training_only():
    made, other = world(), world(seed=1)
    batch = next(iter(made.train_dataloader()))
    assert equal(transferred(made, batch, 3), transferred(world(), batch, 3))
    assert not equal(transferred(made, batch, 3), transferred(made, batch, 4))
    assert not equal(transferred(made, batch, 3), transferred(other, batch, 3))
    assert equal(transferred(made, batch, 3, training=False), batch)


def test_crops_keep_left_and_right():
    """Nothing is mirrored: a ramp that rises to the right rises to the right in every crop."""
    made = world(colour=0.0)
    ramp = torch.linspace(0.2, 0.8, 40).expand(8, 3, 40, 40)
    for step in range(20):
        image = transferred(made, {"image": ramp}, step)["image"]
        assert (image[..., 16, 24] > image[..., 16, 8]).all()


def test_crops_show_the_share_that_was_asked_for():
    made = world(crop_area=(0.5, 0.6), colour=0.0)
    ramp = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij"))
    image = torch.cat([ramp, ramp[:1]])[None].expand(8, 3, 40, 40) / 39
    made.crop_size = 40
    for step in range(10):
        crop = transferred(made, {"image": image}, step)["image"]
        # Colour jitter without strength still turns one image in ten grey.
        coloured = crop[(crop[:, 0] - crop[:, 1]).abs().amax((1, 2)) > 0.1]
        height = coloured[:, 0, 39, 20] - coloured[:, 0, 0, 20]
        width = coloured[:, 1, 20, 39] - coloured[:, 1, 20, 0]
        assert ((height * width > 0.45) & (height * width < 0.65)).all()


def test_whole_pictures_can_be_trained_on_as_they_are():
    made = world(crop_size=None)
    batch = next(iter(made.train_dataloader()))
    assert equal(transferred(made, batch, 3), batch)


def test_views_come_beside_the_whole_picture():
    made = world(views=RandomViews([16], small_views=1, small_size=8))
    batch = next(iter(made.train_dataloader()))
    first, again, later = (transferred(made, batch, step) for step in (3, 3, 4))
    whole = torch.tensor([0.0, 0, 1, 1]).expand(8, 4)
    assert torch.equal(first["image"], crop_and_resize(batch["image"], whole, 32))
    assert [view.shape[-1] for view in first["views"].images] == [16, 16, 8]
    assert torch.equal(first["views"].boxes, again["views"].boxes)
    assert not torch.equal(first["views"].boxes, later["views"].boxes)
    assert "views" not in transferred(made, batch, 3, training=False)


class Recorder(LightningModule):
    """Keeps what it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch["image"].numpy().tobytes(), batch["caption"]))
        return self.weight * batch["image"].mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        assert batch["image"].shape[-1] == SIZE

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(folder, checkpoint=None):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    every = ModelCheckpoint(folder, "{step}", every_n_train_steps=4, save_top_k=-1)
    trainer = Trainer(accelerator="cpu", max_steps=8, callbacks=[every], **quiet)
    module = Recorder()
    trainer.fit(module, datamodule=SubjectWorld(**SMALL), ckpt_path=checkpoint)
    return module.seen


def test_a_resumed_run_sees_what_an_uninterrupted_one_does(tmp_path):
    whole = trained(tmp_path)
    resumed = trained(tmp_path, tmp_path / "step=4.ckpt")  # one batch into the second epoch of three
    assert len(whole) == 8
    assert resumed == whole[4:]
    assert len({image for image, _ in whole}) == 8


def test_validation_shows_held_out_pictures_in_order():
    made = world()
    ((name, loader),) = made.val_dataloader().items()
    found = list(loader)
    assert name == "images@32"
    assert [len(batch["image"]) for batch in found] == [8, 6]
    assert joined(found, "index").tolist() == list(range(14))
    assert joined(found, "label").tolist() == [index % 12 for index in range(14)]
    assert is_image(found[1]["image"], 6, 3, 32, 32)
    assert equal(list(world("validate").val_dataloader()["images@32"]), found)
    assert world(held_out=0).val_dataloader() == {}


def test_loaders_come_in_order(batches):
    assert list(batches) == LOADERS
    for name, found in batches.items():
        assert {batch["task"] for batch in found} == {name.partition("@")[0]}
    shuffled = world("test", tasks=["video", "knn-test", "images", "knn-train"])
    assert list(shuffled.test_dataloader()) == ["images@32", "knn-train@32", "knn-test@32", "video@32"]


def test_only_narrows_the_evaluation():
    made = world("test", tasks=["images", "parts", "video"])
    made.only(["video", "keypoints", "images"])
    assert list(made.test_dataloader()) == ["images@32", "video@32"]
    made.only([])
    assert made.test_dataloader() == {}
    made.only(None)
    assert list(made.test_dataloader()) == ["images@32", "parts@64", "video@32"]
    with pytest.raises(UserError, match="imges"):
        made.only(["imges"])


@pytest.mark.parametrize(("task", "count"), [("images", 30), ("knn-train", 24), ("knn-test", 13)])
def test_labelled_pictures(batches, task, count):
    found = batches[f"{task}@32"]
    assert [len(batch["image"]) for batch in found] == [6] * (count // 6) + [count % 6] * (count % 6 > 0)
    for batch in found:
        assert batch.keys() == {"task", "image", "label", "index"}
        assert is_image(batch["image"], len(batch["label"]), 3, 32, 32)
        assert is_ids(batch["label"], len(batch["image"]))
        assert is_ids(batch["index"], len(batch["image"]))
    assert sorted(joined(found, "index").tolist()) == list(range(count))


def test_batches_of_images_mix_classes_in_a_fixed_order(batches):
    found = batches["images@32"]
    indices = joined(found, "index").tolist()
    assert indices != sorted(indices)
    assert torch.equal(joined(found, "label"), joined(found, "index") % 12)
    assert all(len(batch["label"].unique()) >= 3 for batch in found)
    large = list(world("test", images=48, analysis_batch=48, tasks=["images"]).test_dataloader()["images@32"])
    assert large[0]["label"].bincount().tolist() == [4] * 12


def test_saliency(batches):
    found = batches["saliency@32"]
    assert [len(batch["image"]) for batch in found] == [6, 1]
    for batch in found:
        assert batch["dataset"] == "scenes"
        assert is_image(batch["image"], len(batch["mask"]), 3, 32, 32)
        assert batch["mask"].shape[1:] == (32, 32)
        assert batch["mask"].dtype == torch.bool
        assert ((batch["mask"].float().mean((1, 2)) > 0.01) & (batch["mask"].float().mean((1, 2)) < 0.6)).all()


@pytest.mark.parametrize(("task", "count", "labels"), [("objects", 5, 12), ("parts", 4, 54)])
def test_regions(batches, task, count, labels):
    found = batches[f"{task}@64"]
    assert len(found) == count
    assert sum(len(item.parts) for item in CLASSES) == 54
    for batch in found:
        assert batch.keys() == {"task", "image", "masks", "label"}
        assert is_image(batch["image"], 1, 3, 64, 64)
        assert batch["masks"].shape[1:] == (64, 64)
        assert batch["masks"].dtype == torch.bool
        assert batch["masks"].sum((1, 2)).min() >= 16
        assert is_ids(batch["label"], len(batch["masks"]))
        assert 0 <= batch["label"].min() <= batch["label"].max() < labels


def test_retrieval(batches):
    database, (queries,) = batches["retrieval-database@32"], batches["retrieval-queries@32"]
    assert joined(database, "index").tolist() == list(range(3 * 7 + 5))
    assert all(batch["dataset"] == "scenes" for batch in [*database, queries])
    assert is_image(joined(database, "image"), 26, 3, 32, 32)
    assert is_image(queries["image"], 3, 3, 32, 32)
    assert queries["index"].tolist() == [0, 1, 2]
    named = [position for key in ("easy", "hard", "junk") for each in queries[key] for position in each.tolist()]
    assert sorted(named) == list(range(21))
    for key, count in (("easy", 3), ("hard", 3), ("junk", 1)):
        assert len(queries[key]) == 3
        assert all(is_ids(each, count) for each in queries[key])


def test_pairs(batches):
    (batch,) = batches["keypoints@32"]
    assert is_image(batch["source_image"], 6, 3, 32, 32)
    assert is_image(batch["target_image"], 6, 3, 32, 32)
    valid = batch["keypoint_valid"]
    assert valid.sum() > 12
    for side in ("source_keypoints", "target_keypoints"):
        assert batch[side].shape == (*valid.shape, 2)
        assert ((batch[side][valid] > -1) & (batch[side][valid] < 32)).all()
    assert ((batch["target_box_size"] > 4) & (batch["target_box_size"] <= 32)).all()


def test_videos(batches):
    for small, large in zip(batches["video@32"], batches["dense-video@64"], strict=True):
        assert small["name"] == large["name"]
        assert is_image(small["frames"], 3, 3, 32, 32)
        assert is_image(large["frames"], 3, 3, 64, 64)
        assert torch.equal(small["masks"], large["masks"])
        assert small["masks"].shape == (3, 64, 64)
        assert small["masks"][0].unique().tolist() == [0, 1, 2]


def test_everything_follows_from_the_seed(batches):
    again, other = (world("test", seed=seed).test_dataloader() for seed in (0, 1))
    for name, found in batches.items():
        assert equal(found, list(again[name])), name
        assert not equal(found, list(other[name])), name
    assert equal(list(world().train_dataloader()), list(world().train_dataloader()))
    assert not equal(list(world().train_dataloader()), list(world(seed=1).train_dataloader()))


def test_workers_give_the_same_batches(batches):
    loaders = world("test", num_workers=1, tasks=["parts", "retrieval-queries"]).test_dataloader()
    for name, loader in loaders.items():
        assert equal(list(loader), batches[name])


def test_no_picture_is_in_two_sets(batches):
    """The same size everywhere, so that equal pictures would be equal bytes."""
    made = world(image_size=32, subjects=30)
    sets = {"train": made.train_set.images.float() / 255, "validation": made.held_out_set.images.float() / 255}
    for name in ("images", "saliency", "knn-train", "knn-test", "retrieval-database", "retrieval-queries"):
        sets[name] = joined(batches[f"{name}@32"], "image")
    found = {name: {image.numpy().tobytes() for image in images} for name, images in sets.items()}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == sum(len(each) for each in sets.values())
    # A training picture at the size of the evaluation is no evaluated one either.
    subjects = {render_subject(0, index, 64).objects[-1].centre for index in range(30)}
    assert not subjects & {render_subject(HELD_OUT_WORLD, index, 64).objects[-1].centre for index in range(30)}


def test_pictures_at_both_scales_are_the_same():
    """The evaluated pictures do not depend on S but for their resolution."""
    small, large = (
        next(iter(world("test", size=size, tasks=["images"]).test_dataloader()[f"images@{size}"])) for size in (32, 64)
    )
    halved = torch.nn.functional.avg_pool2d(large["image"], 2)
    pairs = [(halved, small["image"]), (halved.flip(0), small["image"])]
    same, different = (np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in pairs)
    assert same > 0.85 > different + 0.4


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tasks": ["imges"]}, "imges"),
        ({"subjects": 0}, "subjects"),
        ({"size": 4}, "size"),
        ({"image_size": 0}, "image_size"),
        ({"crop_size": 0}, "crop_size"),
        ({"crop_area": (0.5, 0.2)}, "crop_area"),
        ({"colour": -0.1}, "colour"),
        ({"seed": -1}, "seed"),
        ({"instances": 0}, "instances"),
        ({"distractors": -1}, "distractors"),
        ({"analysis_batch": 0}, "analysis_batch"),
    ],
)
def test_mistakes_are_named(changes, named):
    with pytest.raises(UserError, match=named):
        SubjectWorld(**{**SMALL, **changes})


def test_a_batch_larger_than_the_training_set_is_named():
    with pytest.raises(UserError, match="batch_size"):
        world(batch_size=99).train_dataloader()


def test_there_is_nothing_to_predict():
    with pytest.raises(UserError, match="ImageFolder"):
        world("predict")

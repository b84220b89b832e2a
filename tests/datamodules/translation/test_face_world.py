import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.label_maps import CELEBA_MASK_NAMES, flip_labels
from datamodules.procedural.faces.faces import render_face, render_textures
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.translation.face_world import FaceWorld, texture_std
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError

SMALL = {"images": 8, "test_images": 3, "image_size": 48, "batch_size": 4, "texture_draws": 4}


def world(stage="fit", **options):
    data = FaceWorld(**SMALL | options)
    data.setup(stage)
    return data


@pytest.fixture(scope="module")
def fitted():
    return world()


def test_a_training_batch(fitted):
    batches = list(fitted.train_dataloader())
    assert len(batches) == 2
    names = sorted(name for batch in batches for name in batch["name"])
    assert names == [f"face-{index}" for index in range(8)]
    batch = batches[0]
    assert batch["task"] == "translation"
    assert set(batch) == {"task", "image", "labels", "name"}
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 48, 48), torch.float32)
    assert (batch["labels"].shape, batch["labels"].dtype) == ((4, 48, 48), torch.uint8)
    for image, labels, name in zip(batch["image"], batch["labels"], batch["name"], strict=True):
        face = render_face(0, int(name.removeprefix("face-")), 48)
        np.testing.assert_allclose(image.permute(1, 2, 0) * 255, face.image, atol=1e-3)
        assert np.array_equal(labels, face.labels)


def test_a_world_follows_from_its_seed(fitted):
    for a, b, c in zip(*(data.train_dataloader() for data in (fitted, world(), world(seed=1))), strict=True):
        assert a["name"] == b["name"]
        assert torch.equal(a["image"], b["image"])
        assert not torch.equal(a["image"], c["image"])


def test_labels_have_the_names_of_celeba_mask_hq(fitted):
    assert fitted.classes == 19
    assert fitted.label_names == CELEBA_MASK_NAMES


def test_held_out_faces_are_those_of_another_world(fitted):
    (validated,) = fitted.val_dataloader()
    data = world("test")
    (tested,) = data.test_dataloader()
    assert validated["name"] == tested["name"] == ["face-0", "face-1", "face-2"]
    assert torch.equal(validated["image"], tested["image"])
    assert "texture_std" not in validated
    wanted = render_face(HELD_OUT_WORLD, 1, 48)
    assert np.array_equal(tested["labels"][1], wanted.labels)
    assert not any(torch.equal(labels, tested["labels"][1]) for labels in fitted.train_set.labels)


def test_the_spread_over_textures(fitted):
    (batch,) = world("test").test_dataloader()
    spread = batch["texture_std"]
    assert (spread.shape, spread.dtype) == ((3, 48, 48), torch.float32)
    hair, still = batch["labels"] == 13, (batch["labels"] == 0) | (batch["labels"] == 18)
    assert not spread[still].any()
    assert spread[hair].mean() > 0.07
    pictures = render_textures(HELD_OUT_WORLD, 2, 48, range(4)) / 255
    wanted = np.sqrt(((pictures - pictures.mean(0)) ** 2).sum(0) / 3).mean(-1)
    np.testing.assert_allclose(spread[2], wanted, atol=1e-6)
    assert "texture_std" not in next(iter(world("test", texture_draws=0).test_dataloader()))


def test_more_textures_estimate_the_same_spread():
    few, many = (texture_std(0, 0, 48, textures) for textures in (16, 96))
    assert few.mean() == pytest.approx(many.mean(), rel=0.05)


def test_flips_exchange_left_and_right(fitted):
    flipped = world(flip=True)
    mirrored = 0
    for batch in flipped.train_dataloader():
        for image, labels, name in zip(batch["image"], batch["labels"], batch["name"], strict=True):
            plain = fitted.train_set[int(name.removeprefix("face-"))]
            if not torch.equal(image, plain["image"]):
                mirrored += 1
                assert torch.equal(image, plain["image"].flip(-1))
                assert torch.equal(labels, flip_labels(plain["labels"]))
    assert 0 < mirrored < 8


def test_folders_to_predict(tmp_path):
    (tmp_path / "labels").mkdir()
    for index in range(2):
        Image.fromarray(render_face(0, index, 64).labels).save(tmp_path / "labels" / f"{index}.png")
    save_photo(tmp_path / "styles" / "x.png")
    data = world("predict", labels=str(tmp_path / "labels"), styles=str(tmp_path / "styles"))
    (batch,) = data.predict_dataloader()
    assert batch["task"] == "predict"
    assert batch["name"] == ["0__x", "1__x"]
    assert (batch["labels"].shape, batch["labels"].dtype) == ((2, 48, 48), torch.uint8)
    assert batch["style"].shape == (2, 3, 48, 48)


def test_without_folders_held_out_faces_are_combined():
    batches = list(world("predict").predict_dataloader())
    names = [name for batch in batches for name in batch["name"]]
    assert names == [f"face-{source}__face-{style}" for source in range(3) for style in range(3)]
    assert set(batches[0]) == {"task", "labels", "style", "name"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "images is 0; it has to be at least 1"),
        ({"test_images": 0}, "test_images is 0"),
        ({"image_size": 16}, "image_size is 16; it has to be between 32 and 16384"),
        ({"texture_draws": 1}, "texture_draws is 1; a deviation takes at least 2"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        FaceWorld(**SMALL | options)


def test_one_folder_is_not_enough(tmp_path):
    with pytest.raises(UserError, match="only one is given"):
        world("predict", labels=str(tmp_path))

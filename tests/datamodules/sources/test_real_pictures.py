import pytest
import torch

from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.procedural.sources.diffusion import whole_picture
from datamodules.procedural.sources.sources import render_source
from datamodules.sources.real_pictures import RealPictures
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

FEW = {"contents": ["rooms", "objects"], "pictures": 3, "test_pictures": 2, "image_size": 16, "batch_size": 4}


def ready(folder, **options):
    data = RealPictures(**(FEW | options))
    data.trainer = quiet_trainer(folder, [])
    data.setup("fit")
    return data


def as_images(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def test_pictures_are_those_of_real_sources_and_their_planes_name_the_content(tmp_path):
    data = ready(tmp_path)
    assert data.classes == ("rooms", "objects")
    first, held_out = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
    known = {
        picture.numpy().tobytes(): number
        for number, content in enumerate(data.classes)
        for picture in as_images(render_source(0, f"{content}_real", 0, 3, 16))
    }
    assert first["image"].shape == (4, 3, 16, 16)
    for image, planes in zip(first["image"], first["planes"], strict=True):
        assert torch.equal(planes, whole_picture(known[image.numpy().tobytes()], 2, 16))
    assert held_out["task"] == "boxes"
    expected = torch.cat([as_images(render_source(HELD_OUT_WORLD, f"{name}_real", 0, 2, 16)) for name in data.classes])
    assert torch.equal(held_out["image"], expected)
    assert torch.equal(held_out["planes"][3], whole_picture(1, 2, 16))


def test_batches_follow_from_the_seed_and_every_epoch_has_another_order(tmp_path):
    loader, again = ready(tmp_path).train_dataloader(), ready(tmp_path).train_dataloader()
    one, other = (torch.cat([each["image"] for each in batches]) for batches in (loader, again))
    assert torch.equal(one, other)
    loader.sampler.set_epoch(1)
    assert not torch.equal(torch.cat([each["image"] for each in loader]), one)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contents": ["cats"]}, "contents is .*cats"),
        ({"contents": []}, "contents"),
        ({"contents": ["rooms", "rooms"]}, "contents"),
        ({"pictures": 0}, "pictures is 0"),
        ({"image_size": 4}, "image_size is 4"),
    ],
)
def test_what_cannot_be_is_told(wrong, message):
    with pytest.raises(UserError, match=message):
        RealPictures(**(FEW | wrong))


def test_too_few_pictures_are_told_before_they_are_drawn(tmp_path):
    with pytest.raises(UserError, match="6 samples"):
        ready(tmp_path, batch_size=7)

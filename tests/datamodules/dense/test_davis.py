import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.dense.davis import DAVIS2017
from tests.helpers.replicas import make_davis
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_davis(tmp_path)


def videos(root, **options):
    data = DAVIS2017(str(root), **options)
    data.setup("test")
    return {name: list(loader) for name, loader in data.test_dataloader().items()}


def test_videos_are_the_listed_ones_each_a_batch(root):
    found = videos(root, image_sizes=[16, 32])
    assert list(found) == ["video@16", "video@32"]
    assert [video["name"] for video in found["video@32"]] == ["dogs-jump", "bike-packing"]
    video = found["video@32"][0]
    assert video["task"] == "video"
    assert video["frames"].shape == (5, 3, 32, 32)
    assert video["frames"].dtype == torch.float32
    assert 0 <= video["frames"].min() < video["frames"].max() <= 1
    assert video["masks"].shape == (5, 36, 64)
    assert found["video@16"][1]["masks"].shape == (5, 30, 42)


def test_frames_are_squashed_bicubically_and_in_order(root):
    frames = videos(root, image_sizes=[24])["video@24"][1]["frames"]
    for index in range(5):
        file = root / "JPEGImages" / "480p" / "bike-packing" / f"{index:05d}.jpg"
        image = Image.open(file).resize((24, 24), Image.Resampling.BICUBIC)
        assert torch.equal(frames[index], torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255)


def test_masks_are_ids_not_colours(root):
    masks = videos(root)["video@224"][0]["masks"]
    assert masks.dtype == torch.int64
    assert [mask.unique().tolist() for mask in masks] == [[0, 1, 2, 255]] * 2 + [[0, 1, 255]] * 2 + [[0, 1, 2, 255]]
    assert (masks[0] == 1).sum() == 10 * 12
    assert (masks[3, 4:14, 5:17] == 1).all()
    assert (masks[:, :, -2:] == 255).all()


def test_the_aspect_ratio_can_be_kept(root):
    found = videos(root, image_sizes=[18], aspect="keep", long_side_multiple=5)["video@18"]
    assert [video["frames"].shape for video in found] == [(5, 3, 18, 30), (5, 3, 18, 25)]  # of 32 and 25.2


def test_dense_videos_have_their_own_task_and_a_longer_side_that_is_not_rounded(root):
    options = {"task": "dense-video", "aspect": "keep", "long_side_multiple": 1}
    found = videos(root, image_sizes=[37], **options)
    assert list(found) == ["dense-video@37"]
    assert [video["task"] for video in found["dense-video@37"]] == ["dense-video"] * 2
    assert [video["frames"].shape[2:] for video in found["dense-video@37"]] == [(37, 65), (37, 51)]  # of 65.8 and 51.8
    assert [video["masks"].shape[1:] for video in found["dense-video@37"]] == [(36, 64), (30, 42)]


@pytest.mark.parametrize(
    "part", ["ImageSets/2017/val.txt", "JPEGImages/480p/dogs-jump", "Annotations/480p/bike-packing/00003.png"]
)
def test_a_missing_part_is_named(root, part):
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=part) as error:
        videos(root)
    message = str(error.value)
    assert str(root) in message
    assert "Annotations/480p/<video>/00000.png" in message
    assert "--data.init_args.root" in message
    assert "DAVIS-2017-trainval-480p.zip" in message


@pytest.mark.parametrize(("mode", "words"), [("RGB", "colours"), ("L", "object ids 1, 2")])
def test_a_mask_that_lost_its_ids_is_an_error(root, mode, words):
    path = root / "Annotations" / "480p" / "dogs-jump" / "00000.png"
    with Image.open(path) as mask:
        mask.convert(mode).save(path)
    with pytest.raises(UserError, match=words) as error:
        videos(root)
    assert str(path) in str(error.value)


def test_a_broken_mask_is_an_error_that_names_it(root):
    path = root / "Annotations" / "480p" / "dogs-jump" / "00001.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"cannot read the mask .*00001\.png"):
        videos(root)


def test_fewer_videos_than_published_are_a_warning(root, caplog):
    with caplog.at_level(logging.WARNING):
        videos(root)
    assert "2 videos here, 30 as published" in caplog.text

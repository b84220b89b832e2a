import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision import transforms

from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.image_folder import ImageFolder
from datamodules.images.views import RandomViews
from tests.helpers.image_files import AWKWARD, pixels, save_awkward, save_photo, save_photos, truncate
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed


def folder(root, stage="fit", **options):
    data = ImageFolder(str(root), **({"image_size": 16, "batch_size": 2, "num_workers": 0} | options))
    data.setup(stage)
    return data


def test_a_training_batch_follows_the_interface(tmp_path):
    save_photos(tmp_path, 7)
    data = folder(tmp_path)
    batches = list(data.train_dataloader())
    assert len(batches) == 3  # one of the 7 is held out
    for batch in batches:
        assert batch["task"] == "images"
        assert batch["image"].shape == (2, 3, 16, 16)
        assert batch["image"].dtype == torch.float32
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
        assert batch["index"].dtype == torch.int64
    assert sorted(torch.cat([batch["index"] for batch in batches]).tolist()) == list(range(6))
    ((name, loader),) = data.val_dataloader().items()
    assert name == "images@16"
    assert [batch["image"].shape[0] for batch in loader] == [1]


def test_squashing_equals_the_official_transform(tmp_path):
    path = save_photo(tmp_path / "x.png", 50, 30)
    data = folder(tmp_path, color_jitter=False, batch_size=1, val_fraction=0.0)
    official = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
    assert torch.equal(next(iter(data.train_dataloader()))["image"][0], official(Image.open(path)))


def test_the_centre_crop_keeps_the_middle_and_the_aspect_ratio(tmp_path):
    stripes = np.zeros((32, 96, 3), np.uint8)
    stripes[:, 32:64] = 255  # the central square is white
    Image.fromarray(stripes).save(tmp_path / "x.png")
    data = folder(tmp_path, crop="center", color_jitter=False, batch_size=1, val_fraction=0.0)
    assert (next(iter(data.train_dataloader()))["image"] == 1).all()


def test_jitter_changes_training_images_and_not_the_held_out_ones(tmp_path):
    for k in range(8):
        Image.fromarray(pixels(20, 20)).save(tmp_path / f"{k}.png")  # all equal
    data = folder(tmp_path, val_fraction=0.4)
    train = torch.cat([batch["image"] for batch in data.train_dataloader()])
    held_out = torch.cat([batch["image"] for batch in data.val_dataloader()["images@16"]])
    assert len(held_out) > 1
    assert (held_out == held_out[0]).all()
    assert not (train == train[0]).all()
    assert not torch.equal(train[0], held_out[0])


@pytest.mark.parametrize(
    "drawn", [{"color_jitter": True}, {"flip": True}, {"crop": "random"}, {"rand_augment": "m9-n2"}]
)
def test_training_images_repeat_unless_something_is_drawn(tmp_path, drawn):
    for k in range(8):
        Image.fromarray(pixels(20, 20)).save(tmp_path / f"{k}.png")
    assert "train" not in folder(tmp_path, **{"color_jitter": False, **drawn}).repeated_images()
    data = folder(tmp_path, color_jitter=False, val_fraction=0.4)
    parts = data.repeated_images()
    assert list(parts) == ["train", "validate"]
    for batch in [*data.train_dataloader(), *data.train_dataloader()]:
        for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
            assert torch.equal(parts["train"][index]["image"], image)
    assert list(folder(tmp_path, color_jitter=False, val_fraction=0).repeated_images()) == ["train"]


def seeded_sample(data, index, epoch=0):
    """Return a training image, and leave the generators as the sample found them."""
    seed = derived_seed(data.seed, epoch, index)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    return data.train_dataloader().dataset[index, epoch]["image"]


def test_random_crops_equal_torchvisions(tmp_path):
    path = save_photo(tmp_path / "x.png", 60, 40)
    data = folder(tmp_path, crop="random", crop_area=(0.3, 0.9), color_jitter=False, val_fraction=0.0, batch_size=1)
    bicubic = transforms.InterpolationMode.BICUBIC
    crop = transforms.Compose(
        [transforms.RandomResizedCrop(16, (0.3, 0.9), interpolation=bicubic), transforms.ToTensor()]
    )
    for epoch in range(3):
        sample = seeded_sample(data, 0, epoch)
        assert torch.equal(sample, crop(Image.open(path)))
    assert not torch.equal(sample, seeded_sample(data, 0, 4))


def test_validation_after_random_crops_is_on_the_centre(tmp_path):
    save_photos(tmp_path, 4)
    held_out = {
        crop: next(iter(folder(tmp_path, "validate", crop=crop, flip=True).val_dataloader()["images@16"]))["image"]
        for crop in ("random", "center", "squash")
    }
    assert torch.equal(held_out["random"], held_out["center"])
    assert not torch.equal(held_out["random"], held_out["squash"])


def test_about_half_of_the_training_images_are_mirrored(tmp_path):
    path = save_photo(tmp_path / "x.png", 16, 16)
    stored = transforms.functional.to_tensor(Image.open(path))
    data = folder(tmp_path, flip=True, color_jitter=False, val_fraction=0.0, batch_size=1)
    dataset = data.train_dataloader().dataset
    seen = [dataset[0, epoch]["image"] for epoch in range(60)]
    mirrored = [torch.equal(image, stored.flip(2)) for image in seen]
    assert 18 <= sum(mirrored) <= 42
    assert all(torch.equal(image, stored) for image, turned in zip(seen, mirrored, strict=True) if not turned)


def test_rand_augment_is_timms_and_shifts_with_the_size(tmp_path):
    path = save_photo(tmp_path / "x.png", 16, 16)
    data = folder(tmp_path, rand_augment="m9-n2", color_jitter=False, val_fraction=0.0, batch_size=1)
    timms = rand_augment_transform("rand-m9-n2", {"translate_const": 7, "img_mean": (124, 116, 104)})
    changed = 0
    for epoch in range(10):
        sample = seeded_sample(data, 0, epoch)  # the generators are now as before the sample
        assert torch.equal(sample, transforms.functional.to_tensor(timms(Image.open(path))))
        changed += not torch.equal(sample, transforms.functional.to_tensor(Image.open(path)))
    assert changed >= 5


def test_workers_do_not_change_augmentations(tmp_path):
    save_photos(tmp_path, 6)
    options = {"crop": "random", "flip": True, "rand_augment": "m9-n2-mstd0.5", "val_fraction": 0.0}
    alone, others = (
        [batch["image"] for batch in folder(tmp_path, num_workers=workers, **options).train_dataloader()]
        for workers in (0, 2)
    )
    assert all(torch.equal(one, other) for one, other in zip(alone, others, strict=True))


def test_views_are_drawn_for_training_only_and_follow_from_seed_and_step(tmp_path):
    save_photos(tmp_path, 4)

    def views(step, training=True, seed=0):
        data = folder(tmp_path, views=RandomViews([12], small_views=1, small_size=8), seed=seed)
        data.trainer = SimpleNamespace(training=training, global_step=step)
        return data.on_after_batch_transfer({"image": torch.ones(2, 3, 16, 16)}, 0).get("views")

    assert views(0, training=False) is None
    assert torch.equal(views(3).boxes, views(3).boxes)
    assert not torch.equal(views(3).boxes, views(4).boxes)
    assert not torch.equal(views(3).boxes, views(3, seed=1).boxes)
    assert [view.shape[-1] for view in views(3).images] == [12, 12, 8]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_images_become_ordinary_samples(tmp_path, name):
    save_awkward(tmp_path / name)
    for crop in ["squash", "center", "random"]:
        data = folder(tmp_path, crop=crop, batch_size=1, val_fraction=0.0)
        assert next(iter(data.train_dataloader()))["image"].shape == (1, 3, 16, 16)
    image = next(iter(folder(tmp_path, "predict", predict_size=20).predict_dataloader()))["image"]
    assert max(image.shape[-2:]) == 20


def held_out_names(root, **options):
    data = folder(root, "validate", **options)
    return {path.relative_to(root).as_posix() for path in data.val_set.paths}


def test_the_held_out_part_is_stable_and_about_the_wanted_share(tmp_path):
    first = [f"{k}.png" for k in range(150)]
    for name in first:
        save_photo(tmp_path / "a" / name, 2, 2)
    before = held_out_names(tmp_path / "a", val_fraction=0.2)
    assert 15 <= len(before) <= 45
    assert before != held_out_names(tmp_path / "a", val_fraction=0.2, seed=1)
    (tmp_path / "a").rename(tmp_path / "b")  # the place of the folder plays no part
    for k in range(150, 200):
        save_photo(tmp_path / "b" / f"{k}.png", 2, 2)
    after = held_out_names(tmp_path / "b", val_fraction=0.2)
    assert after & set(first) == before
    data = folder(tmp_path / "b", val_fraction=0.2)
    assert set(data.train_set.paths).isdisjoint(data.val_set.paths)
    assert len(data.train_set) + len(data.val_set) == 200


@pytest.mark.parametrize(("count", "fraction", "held_out"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (5, 0.0, 0)])
def test_neither_part_is_empty_where_that_can_be_avoided(tmp_path, count, fraction, held_out):
    save_photos(tmp_path, count)
    data = folder(tmp_path, val_fraction=fraction, batch_size=1)
    assert (len(data.train_set), len(data.val_set)) == (count - held_out, held_out)
    assert len(data.val_dataloader()) == (held_out > 0)


def test_predicting_keeps_the_aspect_ratio_or_the_size(tmp_path):
    path = save_photo(tmp_path / "deep" / "x.png", 50, 30)
    batch = next(iter(folder(tmp_path, "predict", predict_size=20).predict_dataloader()))
    assert (batch["task"], batch["path"], batch["image"].shape) == ("predict", [str(path)], (1, 3, 12, 20))
    batch = next(iter(folder(tmp_path, "predict", predict_size=None).predict_dataloader()))
    assert torch.equal((batch["image"][0] * 255).round().byte(), torch.from_numpy(pixels(30, 50)).permute(2, 0, 1))


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(10, 20)).save(tmp_path / "x.jpg", exif=exif)
    batch = next(iter(folder(tmp_path, "predict", predict_size=None).predict_dataloader()))
    assert batch["image"].shape == (1, 3, 20, 10)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_image_ends_training_with_its_name(tmp_path, num_workers):
    save_photos(tmp_path, 4)
    bad = truncate(save_photo(tmp_path / "bad.jpg", 100, 100))
    data = folder(tmp_path, val_fraction=0.0, batch_size=1, num_workers=num_workers)
    with pytest.raises(UserError, match=f"cannot read the image {bad}.*skip_unreadable=true") as error:
        list(data.train_dataloader())
    assert "Traceback" not in str(error.value)


def test_skipping_leaves_out_exactly_the_broken_images_and_says_so_once(tmp_path, caplog):
    good = save_photos(tmp_path, 6)
    bad = [truncate(save_photo(tmp_path / f"bad{k}.jpg", 100, 100)) for k in range(12)]
    with caplog.at_level("INFO"):
        data = folder(tmp_path, val_fraction=0.0, skip_unreadable=True)
    assert data.skipped == sorted(bad)
    assert data.train_set.paths == sorted(good)
    (message,) = [record.message for record in caplog.records if "cannot be read" in record.message]
    assert "Left out 12 of 18 images" in message
    assert "bad0.jpg" in message
    assert message.endswith("...")
    assert len(list(data.train_dataloader())) == 3
    batches = list(folder(tmp_path, "predict", skip_unreadable=True).predict_dataloader())
    assert [batch["path"] for batch in batches] == [[str(path)] for path in sorted(good)]


def test_a_folder_of_broken_images_only_is_an_error(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 1 images .* x\.jpg"):
        folder(tmp_path, skip_unreadable=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"image_size": -1}, "image_size is -1"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"predict_size": 0}, "predict_size is 0"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"crop": "sqash"}, "one of squash, center, random"),
        ({"crop_area": (0.5, 0.2)}, r"crop_area is \(0.5, 0.2\); it has to be a range, the smaller value first"),
        ({"crop_area": (0.0, 1.0)}, "crop_area"),
        ({"rand_augment": "strong"}, "rand_augment is 'strong'.*m9-n2"),
        ({"rand_augment": "m9-n2-tnone"}, "rand_augment is 'm9-n2-tnone'"),
    ],
)
def test_bad_options_are_named_with_what_they_may_be(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        ImageFolder(str(tmp_path), **options)


def test_a_missing_folder_is_found_out_in_setup(tmp_path):
    data = ImageFolder(str(tmp_path / "nowhere"))
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        data.setup("fit")

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from datamodules.common.image_files import UnreadableImageError
from datamodules.common.loading import SeededDataset
from datamodules.sources.pictures import (
    PictureFiles,
    PictureSamples,
    PicturesToPredict,
    TrainingSources,
    flipped,
    jpeg_blur,
)
from tests.helpers.image_files import AWKWARD, pixels, save_awkward, save_photo, truncate


class Plain:
    """Pictures whose pixels all are their number."""

    def __init__(self, count, first=0):
        self.count, self.first = count, first

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return np.full((8, 8, 3), self.first + index, np.uint8)


@pytest.mark.parametrize(("width", "height"), [(50, 30), (31, 47), (40, 40), (20, 9), (301, 16), (16, 16)])
@pytest.mark.parametrize("size", [16, 24])
def test_preprocessing_equals_the_official_transform(tmp_path, width, height, size):
    path = save_photo(tmp_path / "x.png", width, height)
    official = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])(Image.open(path))
    ours = PictureFiles([path], size)[0]
    assert (ours.shape, ours.dtype) == ((size, size, 3), np.uint8)
    assert np.abs(ours.astype(int) - np.asarray(official)).max() <= 1


def test_a_small_image_is_enlarged(tmp_path):
    path = save_photo(tmp_path / "x.png", 5, 4)
    assert PictureFiles([path], 16)[0].shape == (16, 16, 3)


def test_a_very_long_image_costs_no_more_memory(tmp_path):
    save_photo(tmp_path / "x.png", 30_000, 1)  # 256 pixels high, it would take six gigabytes
    assert PictureFiles([tmp_path / "x.png"], 256)[0].shape == (256, 256, 3)


@pytest.mark.parametrize("name", AWKWARD)
def test_every_mode_is_read(tmp_path, name):
    assert PictureFiles([save_awkward(tmp_path / name)], 16)[0].shape == (16, 16, 3)


def test_a_broken_image_names_itself(tmp_path):
    path = truncate(save_photo(tmp_path / "cut.png"))
    with pytest.raises(UnreadableImageError, match=r"cut\.png"):
        PictureFiles([path], 16)[0]


def test_labelled_pictures_in_order():
    dataset = PictureSamples(Plain(3), np.array([2, 0, 1]))
    assert [(each["index"], each["label"], round(float(each["image"][0, 0, 0]) * 255)) for each in dataset] == [
        (0, 2, 0),
        (1, 0, 1),
        (2, 1, 2),
    ]
    assert len(PictureSamples(Plain(3), count=2)) == 2
    assert "label" not in PictureSamples(Plain(3))[0]


def test_a_training_set_deals_labelled_and_clustered_pictures():
    dataset = TrainingSources(Plain(2), np.array([1, 0]), Plain(5, 100), np.array([-1, 7, 0, -1]), "none")
    found = [
        (round(float(each["image"].mean()) * 255), each["label"], each["discovered"], each["index"])
        for each in (dataset[index] for index in range(len(dataset)))
    ]
    assert found == [(0, 1, False, 0), (1, 0, False, 1), (101, 7, True, 1), (102, 0, True, 2)]


def test_pictures_to_predict_have_paths(tmp_path):
    path = save_photo(tmp_path / "x.png")
    sample = PicturesToPredict(PictureFiles([path], 16))[0]
    assert sample["path"] == str(path)
    assert sample["image"].shape == (3, 16, 16)


def test_augmentation_follows_from_torchs_generator_and_is_rare():
    picture = pixels(16, 16)
    kinds = {"same": 0, "mirrored": 0, "changed": 0}
    for seed in range(200):
        torch.manual_seed(seed)
        changed = jpeg_blur(picture)
        torch.manual_seed(seed)
        assert np.array_equal(changed, jpeg_blur(picture))
        assert (changed.shape, changed.dtype) == (picture.shape, np.uint8)
        same, mirrored = np.array_equal(changed, picture), np.array_equal(changed, picture[:, ::-1])
        kinds["same" if same else "mirrored" if mirrored else "changed"] += 1
    assert 0.1 < kinds["changed"] / 200 < 0.3  # 0.19 are expected
    assert 0.3 < kinds["mirrored"] / 200 < 0.5  # 0.405
    assert 0.3 < kinds["same"] / 200 < 0.5


def test_flips_are_all_four_equally_often_and_follow_from_torchs_generator():
    picture = pixels(16, 12)
    ways = [picture, picture[:, ::-1], picture[::-1], picture[::-1, ::-1]]
    counts = [0] * 4
    for seed in range(400):
        torch.manual_seed(seed)
        found = flipped(picture)
        counts[[np.array_equal(way, found) for way in ways].index(True)] += 1
    assert min(counts) > 70  # 100 are expected


@pytest.mark.parametrize("augment", ["flips", "jpeg_blur"])
def test_augmented_samples_differ_from_epoch_to_epoch(augment):
    class Noise(Plain):
        def __getitem__(self, index):
            return pixels(16, 16, seed=index)

    dataset = SeededDataset(TrainingSources(Noise(20), np.zeros(20, int), Noise(0), np.empty(0, int), augment), 0)
    epochs = [torch.stack([dataset[index, epoch]["image"] for index in range(20)]) for epoch in (0, 0, 1)]
    assert torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epochs[2])

import logging

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.sources.images import SourceImages
from tests.helpers.image_files import save_photo, truncate
from visionscapes.errors import UserError

# Set1 of the authors' class_list.yaml, which is not sorted.
TRAIN = [
    *("real_celeba", "stargan_celeba", "attgan_celeba", "real_hq", "progan_hq", "stylegan_hq"),
    *("real_imagenet", "biggan_imagenet", "s3gan_imagenet", "real_lsun", "progan_lsun", "mmdgan_lsun"),
]
UNSEEN = [
    *("began_celeba", "progan_celeba", "sngan_celeba", "cramergan_celeba", "mmdgan_celeba", "resnet19_hq"),
    *("sngan_imagenet", "sngan_lsun"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The authors' layout: an extra folder, a class to be discovered that sorts first, nested and upper-case files."""
    root = tmp_path_factory.mktemp("gans")
    for part, classes in (("train", [*TRAIN, "extra"]), ("eval", [*TRAIN, *UNSEEN, "aaa_extra"])):
        for number, name in enumerate(classes):
            for picture in range(2):
                save_photo(root / part / name / f"{picture}.png", 12, 10, seed=100 * number + picture + 50 * len(part))
        (root / part / "real_hq" / "0.png").rename(root / part / "real_hq" / "0.PNG")
        save_photo(root / part / "progan_lsun" / "deep" / "er" / "2.png", 12, 10, seed=7 * len(part))
        (root / part / ".cache").mkdir()
        save_photo(root / part / ".cache" / "x.png")
    return root


def images(root, **options):
    options = {"classes": TRAIN, "discovery_classes": TRAIN + UNSEEN} | options
    small = {"image_size": 8, "batch_size": 4, "num_workers": 0}
    data = SourceImages(str(root / "train"), str(root / "eval"), **small | options)
    data.setup("fit")
    return data


def gathered(loader):
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0] if key != "task"}


def test_labels_are_places_of_sorted_names(root):
    data = images(root)
    assert data.classes == tuple(sorted(TRAIN))
    assert data.sources == (*sorted(TRAIN), *sorted(UNSEEN))
    assert (len(data.classes), len(data.sources)) == (12, 20)
    assert data.sources[12] == "began_celeba"  # though it sorts before most of the known
    labels = gathered(data.labelled_dataloader())["label"].tolist()
    assert labels == sorted(labels)
    assert np.bincount(labels).tolist() == [3 if name == "progan_lsun" else 2 for name in sorted(TRAIN)]


def test_the_truth_speaks_of_sources_and_the_names_are_paths(root):
    data = images(root)
    assert len(data.discovery_names) == 41
    assert data.discovery_names == sorted(data.discovery_names)
    assert "progan_lsun/deep/er/2.png" in data.discovery_names
    assert "real_hq/0.PNG" in data.discovery_names
    assert data.truth.dtype == np.int64
    assert [data.sources[source] for source in data.truth] == [name.split("/")[0] for name in data.discovery_names]


def test_real_sources_are_told_by_their_names_or_by_the_user(root):
    assert images(root).real == {"real_celeba", "real_hq", "real_imagenet", "real_lsun"}
    assert images(root, real=["progan_hq"]).real == {"progan_hq"}
    assert images(root, real=[]).real == set()
    with pytest.raises(UserError, match="real has nobody, but the sources are attgan_celeba"):
        images(root, real=["nobody"])


def test_without_a_truth_the_sources_are_the_classes(root):
    data = images(root, truth=False, discovery_classes=None)
    assert data.truth is None
    assert data.sources == data.classes
    assert len(data.discovery_names) == 43


def test_classes_without_images_to_discover_keep_their_place(root):
    data = images(root, discovery_classes=["began_celeba", "real_hq"])
    assert data.sources == (*sorted(TRAIN), "began_celeba")
    assert set(data.truth) == {data.classes.index("real_hq"), 12}


def test_batches_follow_the_interface(root):
    data = images(root)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"task", "image", "label", "discovered", "index"}
    assert batch["task"] == "sources"
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 8, 8), torch.float32)
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert batch["discovered"].dtype == torch.bool
    labelled = next(iter(data.labelled_dataloader()))
    assert set(labelled) == {"task", "image", "label", "index"}
    assert labelled["task"] == "labelled"
    discovery = next(iter(data.discovery_dataloader(1)))
    assert set(discovery) == {"task", "image", "index"}
    assert discovery["task"] == "discovery"


def test_every_discovery_image_comes_once_in_order_as_its_page_shows_it(root):
    data = images(root)
    found = gathered(data.discovery_dataloader(1))
    assert found["index"].tolist() == list(range(41))
    for index in (0, 17, 40):
        shown = data.discovery_image(index)
        assert (shown.shape, shown.dtype) == ((8, 8, 3), np.uint8)
        assert torch.equal(found["image"][index] * 255, torch.from_numpy(shown.copy()).permute(2, 0, 1).float())


@pytest.mark.parametrize(("include_known", "clustered"), [(True, {0: 5, 3: 12, 4: 40}), (False, {3: 12, 4: 40})])
def test_training_deals_what_is_clustered_now(root, include_known, clustered):
    data = images(root, batch_size=1, include_known=include_known)
    assert data.counts() == (25, 0)
    before = data.train_dataloader()
    labels = np.full(41, -1)
    labels[[0, 3, 4]] = 5, 12, 40
    data.relabel(labels)
    labels[:] = 3  # not what was given
    assert data.counts() == (25, len(clustered))
    assert len(before) == 25  # dealt before
    found = gathered(data.train_dataloader())
    new = found["discovered"]
    assert dict(zip(found["index"][new].tolist(), found["label"][new].tolist(), strict=True)) == clustered
    assert sorted(found["index"][~new].tolist()) == list(range(25))
    for index, image in zip(found["index"][new].tolist(), found["image"][new], strict=True):
        assert torch.equal((image * 255).round(), torch.from_numpy(data.discovery_image(index).copy()).permute(2, 0, 1))


def test_labels_of_a_part_and_a_second_setup(root):
    data = images(root)
    data.relabel(np.array([12, -1, 0]))  # of what is there so far
    data.setup("fit")
    assert data.counts() == (25, 2)


@pytest.mark.parametrize("labels", [np.zeros(42, int), np.zeros(3), np.array([-2]), np.zeros((2, 2), int)])
def test_labels_that_cannot_be(root, labels):
    with pytest.raises(ValueError, match="labels"):
        images(root).relabel(labels)


def test_later_rounds_see_more(root):
    data = images(
        root, arrivals={3: [str(root / "eval" / name) for name in ("sngan_lsun", "aaa_extra")], 5: str(root / "train")}
    )
    counts = [data.arrived(number) for number in range(1, 8)]
    assert counts == [39, 39, 43, 43, 43 + 27, 43 + 27, 43 + 27]
    assert len(gathered(data.discovery_dataloader(3))["index"]) == 43
    assert [data.sources[each] for each in data.truth[39:43]] == ["aaa_extra", "aaa_extra", "sngan_lsun", "sngan_lsun"]
    assert data.sources[12:14] == ("aaa_extra", "began_celeba")
    assert "round_5/train/extra/0.png" in data.discovery_names


def test_an_arrival_before_round_2_is_refused(root):
    with pytest.raises(UserError, match="arrivals has round 1; they can come from round 2 on"):
        images(root, arrivals={1: str(root)})


def test_a_missing_arrival_is_not_found(root):
    with pytest.raises(DatasetNotFoundError, match="The set that arrives in round 4 was not found"):
        images(root, arrivals={4: str(root / "nothing")})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7}, "image_size is 7; it has to be between 8 and 16384"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"augment": "flip"}, "augment is 'flip'; it has to be one of none, flips, jpeg_blur"),
        ({"batch_size": 26}, "training set has 25 samples"),
        ({"classes": ["real_hq"]}, r"has 1 classes \(real_hq\)"),
        ({"classes": ["real_hq", "dcgan"]}, "classes has dcgan, but"),
    ],
)
def test_options_that_cannot_be(root, options, message):
    with pytest.raises(UserError, match=message):
        images(root, **options).train_dataloader()


def test_pictures_in_both_sets_and_formats_by_class_are_warned_of(tmp_path, caplog):
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.jpg", "train/b/2.jpg", "eval/1.png"):
        save_photo(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        images(tmp_path, classes=None, discovery_classes=None)
    assert "1 images of the discovery set are in the labelled set too" in caplog.text
    assert "different formats (a: PNG; b: JPEG)" in caplog.text


def test_broken_images_end_the_run_or_are_left_out(tmp_path):
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "eval/1.png", "eval/2.png"):
        save_photo(tmp_path / name)
    truncate(tmp_path / "eval" / "1.png")
    everything = {"classes": None, "discovery_classes": None}
    with pytest.raises(UnreadableImageError, match=r"cannot read the image .*1\.png: .*skip_unreadable=true"):
        images(tmp_path, **everything)  # before training, as the files of an arrival are
    assert images(tmp_path, skip_unreadable=True, **everything).discovery_names == ["2.png"]
    truncate(tmp_path / "train" / "b" / "2.png")
    with pytest.raises(UnreadableImageError, match=r"2 of 6 images cannot be read; .*b/2\.png.* others: .*eval/1\.png"):
        images(tmp_path, **everything)


def test_prediction_goes_through_any_folder(root, tmp_path):
    save_photo(tmp_path / "x.png", 3, 5)
    save_photo(tmp_path / "a" / "y.jpg", 30, 20)
    truncate(save_photo(tmp_path / "z.png"))
    data = SourceImages(
        "nowhere", "nowhere", image_size=8, batch_size=4, num_workers=0, root=str(tmp_path), skip_unreadable=True
    )
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["task"] == "predict"
    assert batch["image"].shape == (2, 3, 8, 8)
    assert batch["path"] == [str(tmp_path / "a" / "y.jpg"), str(tmp_path / "x.png")]
    with pytest.raises(UserError, match="predict needs images"):
        SourceImages("nowhere", "nowhere").setup("predict")
    (tmp_path / "bad").mkdir()
    (tmp_path / "z.png").rename(tmp_path / "bad" / "z.png")
    data = SourceImages("", "", root=str(tmp_path / "bad"), skip_unreadable=True, num_workers=0)
    data.setup("predict")
    assert list(data.predict_dataloader()) == []
    with pytest.raises(UserError, match="None of the 1 files can be used"):
        data.teardown("predict")


def test_two_workers_deal_what_none_does(root):
    data, other = images(root, augment="jpeg_blur"), images(root, augment="jpeg_blur", num_workers=2)
    assert all(
        torch.equal(a["image"], b["image"]) and torch.equal(a["index"], b["index"])
        for a, b in zip(data.train_dataloader(), other.train_dataloader(), strict=True)
    )


class Recorder(LightningModule):
    """Keeps what it was trained on, and clusters the discovery set after two epochs, as its checkpoint remembers."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch["image"].numpy().tobytes(), batch["label"].tolist(), batch["discovered"].tolist()))
        return self.weight * batch["image"].mean()

    def on_train_epoch_start(self):
        if self.trainer.current_epoch == 1:
            self.trainer.datamodule.relabel(np.arange(41) % 15 - 1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["clusters"] = self.trainer.datamodule._clusters

    def on_load_checkpoint(self, checkpoint):
        self.trainer.datamodule.relabel(checkpoint["clusters"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(root, folder, checkpoint=None):
    data = images(root, augment="jpeg_blur", seed=3)
    every = ModelCheckpoint(folder, "{step}", every_n_train_steps=4, save_top_k=-1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=3, reload_dataloaders_every_n_epochs=1, callbacks=[every], **quiet)
    module = Recorder()
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=False)
    return module.seen


def test_a_resumed_run_sees_what_an_uninterrupted_one_does(root, tmp_path):
    whole = trained(root, tmp_path)
    assert len(whole) == 6 + 6 + 15  # the labels of the second epoch are dealt in the third
    resumed = trained(root, tmp_path, tmp_path / "step=16.ckpt")
    assert resumed == whole[16:]

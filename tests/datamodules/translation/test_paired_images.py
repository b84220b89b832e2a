import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import UnreadableImageError
from datamodules.common.label_maps import flip_labels, read_labels, resize_labels
from datamodules.translation.paired_images import PairedImages
from datamodules.translation.pictures import condition_tensor, image_tensor
from tests.helpers.image_files import pixels, save_photo, truncate
from tests.helpers.replicas import write_image
from tests.helpers.replicas_translation import make_label_map, make_paired_folders
from visionscapes.errors import UserError

NAMES = ("1", "10", "2", "b", "a", "photo.v2")  # written in this order; as text 1, 10, 2, a, b, photo.v2


@pytest.fixture
def root(tmp_path):
    return make_paired_folders(tmp_path, NAMES)


def paired(root, stage="fit", kind="labels", **options):
    given = {"image_size": 8, "batch_size": 2, "num_workers": 0, "classes": 4 if kind == "labels" else None}
    data = PairedImages(
        **{"images": str(root / "images"), kind: str(root / ("labels" if kind == "labels" else "edges"))}
        | given
        | options
    )
    data.setup(stage)
    return data


def names(loader):
    return [name for batch in loader for name in batch["name"]]


def test_a_batch_with_label_maps_follows_the_interface(root):
    data = paired(root, label_names=["none", "sky", "tree", "road"])
    batch = next(iter(data.train_dataloader()))
    assert batch.keys() == {"task", "image", "labels", "name"}
    assert (batch["task"], data.classes, data.label_names) == ("translation", 4, ("none", "sky", "tree", "road"))
    assert (batch["image"].shape, batch["image"].dtype) == ((2, 3, 8, 8), torch.float32)
    assert (batch["labels"].shape, batch["labels"].dtype) == ((2, 8, 8), torch.uint8)
    for image, labels, name in zip(batch["image"], batch["labels"], batch["name"], strict=True):
        assert torch.equal(image, image_tensor(Image.open(root / "images" / f"{name}.jpg"), 8))
        assert (labels.numpy() == resize_labels(read_labels(root / "labels" / f"{name}.png", 4), 8)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_with_conditions_follows_the_interface(root, channels):
    data = paired(root, kind="conditions", channels=channels)
    batch = next(iter(data.train_dataloader()))
    assert batch.keys() == {"task", "image", "condition", "name"}
    assert (data.classes, data.label_names) == (None, None)
    assert batch["condition"].shape == (2, channels, 8, 8)
    edges = Image.open(root / "edges" / f"{batch['name'][0]}.png").convert("RGB")
    assert torch.equal(batch["condition"][0], condition_tensor(edges, 8, channels))


def test_the_parts_follow_each_other_in_the_order_of_the_names_as_text(root):
    options = {"val_share": 0.3, "test_share": 0.17}
    data = paired(root, **options)
    assert [pair.name for pair in data.train_set.pairs] == ["1", "10", "2"]
    assert names(data.val_dataloader()) == ["a", "b"]
    assert names(paired(root, "test", **options).test_dataloader()) == ["photo.v2"]
    whole = paired(root, val_share=0.0, test_share=0.0)
    assert len(whole.train_set) == 6
    assert whole.val_dataloader() == []


def test_without_a_test_part_the_test_is_on_the_validation_part(root):
    data = paired(root, "test", val_share=0.3, test_share=0.0)
    assert names(data.test_dataloader()) == ["a", "b", "photo.v2"][1:]
    with pytest.raises(UserError, match="No pair is left for the test part"):
        paired(root, "test", val_share=0.0, test_share=0.0)


def test_folders_of_the_test_are_used_whole_and_take_nothing_from_the_others(root):
    other = make_paired_folders(root / "held_out", ("1", "x"))
    folders = {"test_labels": str(other / "labels"), "test_images": str(other / "images")}
    data = paired(root, val_share=0.0, test_share=0.5, **folders)
    assert len(data.train_set) == 6
    test = paired(root, "test", **folders)
    assert names(test.test_dataloader()) == ["1", "x"]
    assert test.test_set.pairs[0].image.parent == other / "images"
    (other / "images" / "x.jpg").unlink()
    with pytest.raises(UserError, match=r"1 label maps in .*held_out/labels have no partner"):
        paired(root, "test", **folders)


def test_missing_partners_are_counted_and_named_in_both_directions(root):
    (root / "images" / "10.jpg").unlink()
    for name in ("p", "q", "r", "s"):
        write_image(root / "images" / f"{name}.jpg", 20, 15)
    with pytest.raises(
        UserError, match=r"1 label maps in .*labels .*\(10\); 4 images in .*images .*\(p, q, r, \.\.\.\)"
    ):
        paired(root)


def test_sub_folders_carry_no_meaning_and_names_have_to_differ(root):
    (root / "images" / "deep").mkdir()
    (root / "images" / "a.jpg").rename(root / "images" / "deep" / "a.jpg")
    assert len(paired(root, val_share=0.0, test_share=0.0).train_set) == 6
    save_photo(root / "images" / "a.png")
    with pytest.raises(UserError, match=r"a\.png and .*deep/a\.jpg have the same name"):
        paired(root)


def test_label_maps_of_another_size_are_resized_on_their_own(root):
    write_image(root / "images" / "1.jpg", 61, 46)  # three times the size and one pixel
    data = paired(root, val_share=0.0, test_share=0.0)
    assert data.train_set[0]["name"] == "1"
    assert (data.train_set[0]["labels"].numpy() == resize_labels(read_labels(root / "labels" / "1.png", 4), 8)).all()


@pytest.mark.parametrize("kind", ["labels", "conditions"])
def test_another_aspect_ratio_is_an_error(root, kind):
    write_image(root / "images" / "1.jpg", 15, 20)
    with pytest.raises(UserError, match=r"images/1\.jpg has 15 x 20 pixels and .*1\.png 20 x 15"):
        paired(root, kind=kind, val_share=0.0, test_share=0.0).train_set[0]


def test_palette_and_sixteen_bit_label_maps_are_read_by_their_values(root):
    for name, mode in (("1", "P"), ("10", "I;16")):
        make_label_map(root / "labels" / f"{name}.png", mode=mode)
    data = paired(root, val_share=0.0, test_share=0.0)
    for index in range(2):
        stored = make_label_map(root / "copy" / f"{('1', '10')[index]}.png")
        assert (data.train_set[index]["labels"].numpy() == resize_labels(stored, 8)).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_out_of_range_end_the_run_with_file_values_and_classes(root, workers):
    data = paired(root, classes=3, num_workers=workers, val_share=0.0, test_share=0.0)
    with pytest.raises(UserError, match=r"\.png holds the labels 0, 1, 2, 3, but there are 3 classes"):
        list(data.train_dataloader())


def test_single_colours_are_served(root):
    Image.new("RGB", (20, 15), (10, 20, 30)).save(root / "images" / "1.jpg", quality=100)
    Image.new("L", (20, 15), 3).save(root / "labels" / "1.png")
    Image.new("L", (20, 15), 255).save(root / "edges" / "1.png")
    sample = paired(root, val_share=0.0, test_share=0.0).train_set[0]
    assert (sample["labels"] == 3).all()
    assert sample["image"].std((1, 2)).max() == 0
    assert (paired(root, kind="conditions", val_share=0.0).train_set[0]["condition"] == 1).all()


def test_flips_exchange_the_labels_that_were_named(root):
    options = {"val_share": 0.0, "test_share": 0.0}
    plain = paired(root, **options)
    dataset = paired(root, flip=True, flip_pairs=[(1, 3)], **options).train_dataloader().dataset
    turned = 0
    for epoch in range(8):
        for index in range(6):
            still, seen = plain.train_set[index], dataset[index, epoch]
            turn = not torch.equal(still["image"], seen["image"])
            turned += turn
            assert torch.equal(seen["image"], still["image"].flip(-1) if turn else still["image"])
            assert torch.equal(seen["labels"], flip_labels(still["labels"], [(1, 3)]) if turn else still["labels"])
    assert 14 <= turned <= 34


def test_workers_and_processes_do_not_change_what_is_seen(root, monkeypatch):
    options = {"flip": True, "val_share": 0.0, "test_share": 0.0, "batch_size": 1}

    def batches(**more):
        loader = paired(root, **(options | more)).train_dataloader()
        loader.sampler.set_epoch(3)
        return list(loader)

    alone = batches(batch_size=2)
    for one, other in zip(alone, batches(batch_size=2, num_workers=2), strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["labels"], other["labels"])
    shares = []
    for rank in range(2):
        monkeypatch.setattr("datamodules.common.loading.rank_and_world_size", lambda rank=rank: (rank, 2))
        shares.append(batches())
    for whole, *parts in zip(alone, *shares, strict=True):
        assert whole["name"] == [part["name"][0] for part in parts]
        assert torch.equal(whole["image"], torch.cat([part["image"] for part in parts]))


class Sums(LightningModule):
    """Records the sum of every training batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, _):
        self.seen.append((batch["name"], float(batch["image"].sum()), float(batch["labels"].sum())))
        return self.weight * 1.0

    def validation_step(self, batch, _):
        assert batch["task"] == "translation"

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_run_resumes_in_the_middle_of_an_epoch(root, tmp_path):
    def fit(steps, checkpoint=None):
        module, data = Sums(), paired(root, flip=True, val_share=0.0, test_share=0.0)
        saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
        Trainer(max_steps=steps, accelerator="cpu", callbacks=[saver], **quiet).fit(module, data, ckpt_path=checkpoint)
        return module.seen

    whole = fit(6)  # two epochs of three batches
    assert whole[:4] + fit(6, tmp_path / "step=4.ckpt") == whole
    assert len({tuple(each[0]) for each in whole}) > 1


def test_a_corrupt_file_ends_the_run_or_is_left_out_with_its_partner(root, caplog):
    Image.fromarray(pixels(200, 200)).save(root / "images" / "1.jpg")
    truncate(root / "images" / "1.jpg")
    (root / "labels" / "b.png").write_bytes(b"")
    options = {"val_share": 0.0, "test_share": 0.0}
    data = paired(root, **options)
    with pytest.raises(UnreadableImageError, match=r"1\.jpg"):
        data.train_set[0]
    with pytest.raises(UnreadableImageError, match=r"b\.png"):
        data.train_set[4]
    with caplog.at_level("INFO"):
        data = paired(root, skip_unreadable=True, **options)
    assert [pair.name for pair in data.train_set.pairs] == ["10", "2", "a", "photo.v2"]
    assert sorted(path.name for path in data.skipped) == ["1.jpg", "b.png"]
    (message,) = [record.message for record in caplog.records if "Left out" in record.message]
    assert "2 of 6 pairs" in message
    assert "b.png" in message


def test_folders_of_broken_files_only_are_an_error(root):
    for path in (root / "labels").glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 6 pairs can be read, 6 files: "):
        paired(root, skip_unreadable=True)


def test_predicting_combines_the_label_maps_with_the_styles(root):
    save_photo(root / "styles" / "s.jpg")
    data = paired(root, "predict", styles=str(root / "styles"), images="nowhere")
    assert names(data.predict_dataloader()) == ["1__s", "10__s", "2__s", "a__s", "b__s", "photo.v2__s"]
    batch = next(iter(paired(root, "predict", "conditions", styles=str(root / "styles")).predict_dataloader()))
    assert (batch["task"], batch["condition"].shape) == ("predict", (2, 3, 8, 8))
    crossed = paired(root, "predict", val_share=0.3, test_share=0.3).predict_dataloader()
    assert names(crossed) == ["b__b", "b__photo.v2", "photo.v2__b", "photo.v2__photo.v2"]


@pytest.mark.parametrize("folder", ["labels", "images"])
def test_a_missing_or_empty_folder_is_named_with_its_option(root, folder):
    (root / folder).rename(root / "away")
    for _ in range(2):
        with pytest.raises(DatasetNotFoundError, match=f"(?s){root / folder}.*<images>/a.jpg.*init_args.{folder}"):
            paired(root)
        (root / folder).mkdir(exist_ok=True)


def test_too_few_pairs_are_an_error(tmp_path):
    root = make_paired_folders(tmp_path, ("a", "b"))
    with pytest.raises(UserError, match=r"No pair is left for the train part, of 2 .*val_share"):
        paired(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "neither"),
        ({"labels": "x", "conditions": "y"}, "both"),
        ({"labels": "x"}, "give classes"),
        ({"conditions": "x", "classes": 3}, "leave out classes"),
        ({"labels": "x", "classes": 257}, "classes is 257"),
        ({"labels": "x", "classes": 0}, "classes is 0"),
        ({"labels": "x", "classes": 3, "label_names": ["a"]}, "label_names has 1 names for 3"),
        ({"labels": "x", "classes": 3, "flip_pairs": [(1, 3)]}, "flip_pairs"),
        ({"labels": "x", "classes": 3, "flip_pairs": [(1, 2), (2, 0)]}, "flip_pairs"),
        ({"conditions": "x", "flip_pairs": [(1, 2)]}, "flip_pairs"),
        ({"conditions": "x", "channels": 4}, "channels is 4"),
        ({"conditions": "x", "val_share": 1.0}, "val_share is 1.0"),
        ({"conditions": "x", "test_share": -0.1}, "test_share is -0.1"),
        ({"conditions": "x", "val_share": 0.5, "test_share": 0.5}, "nothing to train on"),
        ({"conditions": "x", "test_images": "y"}, "give both test_conditions and test_images"),
        ({"conditions": "x", "test_labels": "y", "test_images": "z"}, "give both test_conditions"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        PairedImages("images", **options)


def test_options_can_be_given_in_yaml(tmp_path):
    parser = ArgumentParser()
    parser.add_class_arguments(PairedImages, "data")
    words = ["--data.images=i", "--data.labels=l", "--data.classes=19", "--data.flip_pairs=[[4, 5], [6, 7]]"]
    data = parser.instantiate(parser.parse_args(words)).data
    assert data.swapped == [(4, 5), (6, 7)]
    assert np.asarray(data.swapped).dtype == int


def test_pixels_without_a_label_are_trained_on_as_such(root):
    stored = read_labels(root / "labels" / "1.png", 4)
    Image.fromarray(np.where(stored == 1, 255, stored).astype(np.uint8)).save(root / "labels" / "1.png")
    with pytest.raises(UserError, match=r"1\.png holds the labels .*ignore_label=255"):
        paired(root).train_set[0]
    labels = paired(root, ignore_label=255).train_set[0]["labels"].numpy()
    expected = resize_labels(stored, 8)
    assert ((labels == 255) == (expected == 1)).all()
    assert (labels[expected != 1] == expected[expected != 1]).all()
    with pytest.raises(UserError, match="256 classes leave no value"):
        paired(root, classes=256, ignore_label=255)
    with pytest.raises(UserError, match="pictures have no labels"):
        paired(root, kind="conditions", ignore_label=255)


def test_test_pairs_are_predicted_at_their_own_size(root):
    make_label_map(root / "labels" / "photo.v2.png", 31, 23)
    write_image(root / "images" / "photo.v2.jpg", 62, 46)
    batch = next(iter(paired(root, "predict").predict_dataloader()))
    assert batch["name"] == ["photo.v2__photo.v2"]
    assert (batch["size"].tolist(), batch["window"].tolist()) == ([[23, 31]], [[0, 0, 8, 8]])


def test_draws_come_pair_by_pair(root):
    data = paired(root, "predict", draws=3, styles=str(root / "images"))
    batches = list(data.predict_dataloader())
    assert [batch["name"] for batch in batches][:2] == [["1__1"], ["1__10"]]
    assert len({seed for batch in batches for seed in batch["seeds"].flatten().tolist()}) == 3 * len(batches) == 108

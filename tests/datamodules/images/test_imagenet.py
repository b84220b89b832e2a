import numpy as np
import pytest
from scipy.io import savemat

from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.imagenet import ImageNet
from tests.helpers.image_files import save_awkward, save_photo, truncate
from visionscapes.errors import UserError

# Sorted WordNet ids and, beside them, devkit ids in another order; id 4 is an inner node of the tree.
DEVKIT_IDS = {"n01440764": 3, "n02012849": 1, "n03126707": 2, "n00001740": 4}
CLASSES = ["n01440764", "n02012849", "n03126707"]
VAL = {1: "n03126707", 2: "n01440764", 3: "n02012849", 4: "n03126707"}  # number of the image -> class

pytestmark = pytest.mark.filterwarnings("ignore:ImageNet below")


def make_train(folder, classes=CLASSES):
    for wordnet_id in reversed(classes):
        for number in [10, 2]:
            save_photo(folder / wordnet_id / f"{wordnet_id}_{number}.JPEG")
    first = folder / classes[0]
    for stem, suffix in [("cmyk", "jpg"), ("greyscale", "jpg"), ("palette", "png")]:  # the last: a PNG called .JPEG
        save_awkward(first / f"{stem}.{suffix}").rename(first / f"{first.name}_{stem}.JPEG")
    (first / ".DS_Store").write_bytes(b"x")
    (folder / "README.txt").write_text("x")


def make_val(folder, nested=False):
    for number, wordnet_id in reversed(VAL.items()):
        save_photo(folder / (wordnet_id if nested else "") / f"ILSVRC2012_val_{number:08d}.JPEG")


def make_devkit(root):
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, wordnet_id, "crane", 3 if number == 4 else 0) for wordnet_id, number in DEVKIT_IDS.items()]
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=fields).reshape(-1, 1)})
    truth = "".join(f"{DEVKIT_IDS[VAL[number]]}\n" for number in sorted(VAL))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


def imagenet(root, stage="fit", **options):
    data = ImageNet(str(root), image_size=8, batch_size=2, num_workers=0, **options)
    data.setup(stage)
    return data


def val_labels(data):
    (loader,) = data.val_dataloader().values()
    samples = [pair for batch in loader for pair in zip(batch["index"].tolist(), batch["label"].tolist(), strict=True)]
    return {int(data.val_set.paths[index].stem.split("_")[-1]): CLASSES[label] for index, label in samples}


def assert_train_labels(data):
    classes = [CLASSES[label] for label in data.train_set.labels]
    assert classes == [path.parent.name for path in data.train_set.paths]
    assert len(classes) == 9
    for batch in data.train_dataloader():
        assert batch["image"].shape == (2, 3, 8, 8)
        assert batch["label"].tolist() == [data.train_set.labels[index] for index in batch["index"]]


@pytest.mark.parametrize("wrapped", ["", "ILSVRC2012_img_val"])
def test_flat_validation_takes_its_labels_from_the_devkit(tmp_path, wrapped):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val" / wrapped)
    make_devkit(tmp_path)
    data = imagenet(tmp_path)
    assert_train_labels(data)
    assert val_labels(data) == VAL


def test_a_missing_validation_image_does_not_shift_the_labels(tmp_path):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val")
    make_devkit(tmp_path)
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    assert val_labels(imagenet(tmp_path)) == {number: label for number, label in VAL.items() if number != 2}


def test_class_folders_need_no_devkit(tmp_path):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val", nested=True)
    data = imagenet(tmp_path)
    assert_train_labels(data)
    assert val_labels(data) == VAL


def test_kaggle(tmp_path):
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    make_train(images / "train")
    make_val(images / "val")
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(f"{c} crane, bird\n" for c in reversed(CLASSES)))
    rows = "".join(f"ILSVRC2012_val_{n:08d},{VAL[n]} 1 2 3 4 {VAL[n]} 5 6 7 8 \n" for n in (3, 1, 4, 2))
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + rows)
    data = imagenet(tmp_path)
    assert_train_labels(data)
    assert val_labels(data) == VAL


def test_a_subset_keeps_the_numbers_of_the_devkit(tmp_path):
    make_train(tmp_path / "train", CLASSES[1:])
    make_val(tmp_path / "val")
    make_devkit(tmp_path)
    assert set(imagenet(tmp_path).train_set.labels) == {1, 2}


def test_validation_and_prediction_work_without_the_training_images(tmp_path):
    make_val(tmp_path / "val")
    make_devkit(tmp_path)
    assert val_labels(imagenet(tmp_path, "validate")) == VAL
    batches = list(imagenet(tmp_path, "predict", predict_size=20).predict_dataloader())
    assert [batch["image"].shape[-2:] for batch in batches] == [(15, 20)] * 4
    with pytest.raises(DatasetNotFoundError, match="train"):
        imagenet(tmp_path)


def test_skipping_keeps_labels_beside_their_images(tmp_path):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val")
    make_devkit(tmp_path)
    truncate(tmp_path / "train" / CLASSES[0] / f"{CLASSES[0]}_10.JPEG")
    truncate(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    data = imagenet(tmp_path, skip_unreadable=True)
    assert [CLASSES[label] for label in data.train_set.labels] == [path.parent.name for path in data.train_set.paths]
    assert len(data.train_set) == 8
    assert val_labels(data) == {number: label for number, label in VAL.items() if number != 1}
    assert len(data.skipped) == 2


def test_every_training_option_reaches_the_folder(tmp_path):
    options = {"crop": "random", "crop_area": (0.2, 0.9), "flip": True, "rand_augment": "m5-n1", "views": object()}
    data = ImageNet(str(tmp_path), **options)
    assert {name: getattr(data, name) for name in options} == options


def test_stored_pixels_are_not_turned(tmp_path):
    assert not ImageNet.upright


def test_errors_say_what_is_missing_and_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"train(?s:.*)image-net\.org"):
        imagenet(tmp_path)
    (tmp_path / "train").mkdir()
    for wordnet_id in CLASSES:
        (tmp_path / "train" / f"{wordnet_id}.tar").write_bytes(b"x")  # the outer archive unpacked, the inner ones not
    with pytest.raises(DatasetNotFoundError, match=r"content of 3 archives(?s:.*)tar -xf"):
        imagenet(tmp_path)
    for wordnet_id in CLASSES:
        (tmp_path / "train" / f"{wordnet_id}.tar").unlink()
    make_train(tmp_path / "train")
    make_val(tmp_path / "val")
    with pytest.raises(DatasetNotFoundError, match=r"labels of the flat folder(?s:.*)meta\.mat"):
        imagenet(tmp_path)
    make_devkit(tmp_path)
    save_photo(tmp_path / "val" / "holiday.jpg")
    with pytest.raises(DatasetNotFoundError, match=r"known class for .*holiday\.jpg"):
        imagenet(tmp_path)


@pytest.mark.filterwarnings("default:ImageNet below")
def test_counts_are_compared_with_the_published_ones(tmp_path):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val", nested=True)
    with pytest.warns(UserWarning, match="9 training images of 1,281,167"):
        imagenet(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", bytes(range(256)), b"ImageId\n", b"ImageId,PredictionString\nx\n", b"a\nb\n", b"7\n"]
)
def test_labels_that_are_none(tmp_path, content):
    make_train(tmp_path / "train")
    make_val(tmp_path / "val")
    (tmp_path / "LOC_val_solution.csv").write_bytes(content)
    with pytest.raises(UserError):
        imagenet(tmp_path)
    make_devkit(tmp_path)
    next(tmp_path.glob("*/data/*ground_truth.txt")).write_bytes(content)
    with pytest.raises(UserError):
        imagenet(tmp_path)

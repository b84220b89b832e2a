import logging
import shutil

import pytest
import torch
from PIL import Image
from torchvision import transforms

from datamodules.analysis.imagenet_50 import NAMES, WORDNET_IDS, ImageNet50
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.replicas_vit import make_imagenet_50
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_imagenet_50(tmp_path_factory.mktemp("imagenet"))


def ready(root, **options):
    data = ImageNet50(str(root), **({"image_size": 8, "images_per_class": 2, "num_workers": 0} | options))
    data.setup("test")
    return data


def gathered(data, key):
    ((name, loader),) = data.test_dataloader().items()
    assert name == "images@8"
    return torch.cat([batch[key] for batch in loader]).tolist()


def test_the_list_has_fifty_sorted_classes_with_names():
    assert len(WORDNET_IDS) == len(set(WORDNET_IDS)) == len(NAMES) == 50
    assert sorted(WORDNET_IDS) == WORDNET_IDS
    assert all(len(each) == 9 and each[0] == "n" and each[1:].isdigit() for each in WORDNET_IDS)
    assert (NAMES[0], NAMES[9], NAMES[39], NAMES[49]) == (
        "Dipper",
        "Flat-Coated Retriever",
        "Steel Arch Bridge",
        "Banana",
    )


def test_a_batch_follows_the_interface(root):
    batch = next(iter(ready(root, batch_size=7).test_dataloader()["images@8"]))
    assert batch["task"] == "images"
    assert batch["image"].shape == (7, 3, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["label"].dtype == batch["index"].dtype == torch.int64


def test_the_first_files_in_lexical_order_count_and_strays_do_not_cost_a_sample(root):
    paths = ready(root).part.paths
    assert [path.name for path in paths[:4]] == [
        "n01601694_10.JPEG",
        "n01601694_2.JPEG",
        "n01669191_10.JPEG",
        "n01669191_2.JPEG",
    ]
    assert len(paths) == 100
    assert not any("n01440764" in str(path) for path in paths)


def test_labels_are_lines_of_the_list_and_no_other_folder_shifts_them(root):
    data = ready(root, order="sorted")
    assert gathered(data, "label") == [label for label in range(50) for _ in range(2)]
    assert gathered(data, "index") == list(range(100))
    assert [path.parent.name for path in data.part.paths] == [WORDNET_IDS[label] for label in data.part.labels]


def test_shuffled_batches_mix_classes_alike_in_every_run(root):
    data = ready(root, batch_size=20)
    index = gathered(data, "index")
    assert sorted(index) == list(range(100))
    assert index == gathered(ready(root, batch_size=8), "index")
    assert index != gathered(ready(root, seed=1), "index")
    assert gathered(data, "label") == [place // 2 for place in index]
    assert all(len(batch["label"].unique()) > 10 for batch in data.test_dataloader()["images@8"])


def test_an_image_is_the_same_in_both_orders(root):
    images = {}
    for order in ("sorted", "shuffled"):
        (loader,) = ready(root, order=order).test_dataloader().values()
        pairs = [pair for batch in loader for pair in zip(batch["index"].tolist(), batch["image"], strict=True)]
        images[order] = dict(pairs)
    assert all(torch.equal(images["sorted"][place], images["shuffled"][place]) for place in range(100))


def test_images_are_resized_and_cropped_as_torchvision_does(root):
    data = ready(root, order="sorted")
    steps = [transforms.Resize(8, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(8)]
    prepare = transforms.Compose([*steps, transforms.ToTensor()])
    batch = next(iter(data.test_dataloader()["images@8"]))
    for place in (0, 1):  # the first is a PNG with a palette that is called .JPEG
        assert torch.equal(batch["image"][place], prepare(Image.open(data.part.paths[place]).convert("RGB")))


@pytest.mark.parametrize("layout", ["ILSVRC/Data/CLS-LOC/train", "."])
def test_other_layouts(tmp_path, root, layout):
    shutil.copytree(root / "train", tmp_path / layout, dirs_exist_ok=True)
    assert len(ready(tmp_path).part.paths) == 100


def test_a_missing_class_is_named(tmp_path, root):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "train" / "n02058221").glob("*.JPEG"):
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"n02058221 \(Albatross\)") as error:
        ready(tmp_path)
    shutil.rmtree(tmp_path / "train" / "n02058221")
    with pytest.raises(DatasetNotFoundError, match=r"n02058221 \(Albatross\)"):
        ready(tmp_path)
    message = str(error.value)
    assert str(tmp_path) in message
    assert "ILSVRC2012_img_train.tar" in message
    assert "--data.init_args.root" in message


def test_fewer_images_than_the_thesis_has_are_a_warning(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root, images_per_class=100)
    assert "150 images here, 5000 as published" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ready(root, images_per_class=3)
    assert not caplog.records


@pytest.mark.parametrize("options", [{"images_per_class": 0}, {"batch_size": 0}, {"image_size": 0}])
def test_numbers_have_to_make_sense(options):
    with pytest.raises(UserError, match=next(iter(options))):
        ImageNet50("x", **options)


def test_an_unreadable_file_is_named(tmp_path, root):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "train" / "n01601694" / "n01601694_2.JPEG"
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match=f"cannot read the image {path}"):
        gathered(ready(tmp_path), "index")

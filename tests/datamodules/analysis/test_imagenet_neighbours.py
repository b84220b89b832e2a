import pytest
import torch

from datamodules.analysis.imagenet_neighbours import ImageNetNeighbours
from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.imagenet import ImageNet
from tests.helpers.replicas_vit import make_imagenet_parts
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:ImageNet below")


@pytest.fixture
def root(tmp_path):
    return make_imagenet_parts(tmp_path)


def batches(root, **options):
    data = ImageNetNeighbours(str(root), **({"image_size": 8, "batch_size": 5, "num_workers": 0} | options))
    data.setup("test")
    return {name: list(loader) for name, loader in data.test_dataloader().items()}


def test_training_images_come_first_then_the_questions(root):
    found = batches(root)
    assert list(found) == ["knn-train@8", "knn-test@8"]
    for name, count in {"knn-train@8": 12, "knn-test@8": 9}.items():
        assert {batch["task"] for batch in found[name]} == {name.partition("@")[0]}
        assert found[name][0]["image"].shape == (5, 3, 8, 8)
        assert torch.cat([batch["index"] for batch in found[name]]).tolist() == list(range(count))


def test_labels_are_those_of_imagenet(root):
    train, val = ImageNet(str(root)).parts()
    found = batches(root)
    for name, part in {"knn-train@8": train, "knn-test@8": val}.items():
        labels = torch.cat([batch["label"] for batch in found[name]])
        assert labels.tolist() == part.labels
        assert labels.dtype == torch.int64
    assert set(train.labels) == {0, 1, 2}


def test_a_subset_takes_the_first_ones_of_every_class(root):
    data = ImageNetNeighbours(str(root), images_per_class=2)
    data.setup("test")
    for task, part in data.parts.items():
        assert part.labels == [0, 0, 1, 1, 2, 2]
        for wordnet_id in ("n01440764", "n02012849", "n03126707"):
            folder = root / ("train" if task == "knn-train" else "val") / wordnet_id
            assert [path for path in part.paths if path.parent == folder] == sorted(folder.glob("*"))[:2]


def test_a_subset_larger_than_the_data_takes_all(root):
    assert [len(batch["index"]) for batch in batches(root, images_per_class=99)["knn-test@8"]] == [5, 4]


def test_a_missing_part_is_an_error_of_imagenet(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"ILSVRC2012(?s:.*)--data\.init_args\.root"):
        batches(tmp_path)


@pytest.mark.parametrize("options", [{"image_size": 0}, {"batch_size": 0}, {"images_per_class": 0}])
def test_numbers_have_to_make_sense(options):
    with pytest.raises(UserError, match=next(iter(options))):
        ImageNetNeighbours("x", **options)

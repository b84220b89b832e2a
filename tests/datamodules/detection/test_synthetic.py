import pytest
import torch

from datamodules import DetectionScenes
from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.scenes import NAMES
from datamodules.detection.synthetic import SyntheticPictures
from tests.helpers.generated_pictures import SIZE, write_generated
from tests.helpers.replicas_detection import edit_json
from visionscapes.errors import UserError


def scenes(path=None, **options):
    synthetic = {"annotations": None if path is None else str(path)} | options.pop("synthetic", {})
    data = DetectionScenes(scenes=8, test_scenes=2, image_size=SIZE, batch_size=4, synthetic=synthetic, **options)
    data.setup("fit")
    return data


def test_batches_are_of_one_kind_and_say_which(tmp_path):
    loader = scenes(write_generated(tmp_path), synthetic={"probability": 0.5}).train_dataloader()
    kinds = []
    for epoch in range(10):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == 2, "as many as real scenes fill"
        for batch in batches:
            assert len(set(batch["synthetic"])) == 1
            grey = [int(image.float().std() < 1e-3) for image in batch["image"]]
            assert grey == [int(each) for each in batch["synthetic"]]
            kinds += batch["synthetic"][:1]
    assert 0 < sum(kinds) < len(kinds)


def test_boxes_and_labels_are_those_of_the_file_by_the_names_of_classes(tmp_path):
    reordered = tuple(reversed(NAMES))
    data = scenes(write_generated(tmp_path, names=reordered, first=7), synthetic={"probability": 1.0})
    for batch in data.train_dataloader():
        for image, boxes, labels in zip(batch["image"], batch["boxes"], batch["labels"], strict=True):
            number = int(image.float().mean().round()) // 10
            assert NAMES[int(labels)] == reordered[3 * (number % 4)]
            x1, x2 = boxes[0, 0].item(), boxes[0, 2].item()
            assert (x1, x2) in ((10.0, 30.0), (SIZE - 30.0, SIZE - 10.0)), "flipped or not"


def test_concatenation_goes_through_everything_once_an_epoch(tmp_path):
    loader = scenes(write_generated(tmp_path, count=8), synthetic={"mixing": "concatenation"}).train_dataloader()
    flags = [flag for batch in loader for flag in batch["synthetic"]]
    assert len(flags) == 16
    assert sum(flags) == 8


def test_without_generated_pictures_nothing_changes(tmp_path):
    plain = list(scenes().train_dataloader())
    assert "synthetic" not in plain[0]
    never = list(scenes(write_generated(tmp_path), synthetic={"probability": 0.0}).train_dataloader())
    for one, other in zip(plain, never, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one["image"], other["image"], strict=True))


def test_other_classes_and_missing_files_are_told(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"gen2det_generate\.yaml"):
        scenes(tmp_path / "filtered.json").train_dataloader()
    path = write_generated(tmp_path / "one", names=("zebra", *NAMES[1:]))
    with pytest.raises(UserError, match="has objects of the class 'zebra', which the real pictures do not have"):
        scenes(path).train_dataloader()
    ghost = {"id": 99, "name": "ghost"}
    unused = edit_json(write_generated(tmp_path / "unused"), lambda content: content["categories"].append(ghost))
    assert scenes(unused).train_dataloader()
    path = write_generated(tmp_path / "two")
    (tmp_path / "two" / "images" / "003.png").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"003\.png"):
        scenes(path).train_dataloader()
    assert SyntheticPictures().records(NAMES) is None

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DetectionScenes, SecondView
from datamodules.common.image_files import as_rgb, read_image
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.prediction import (
    EvaluatedPictures,
    PicturesToDetect,
    batch_of,
    categories_in,
    collate_to_detect,
    names_of,
    numbers_of,
)
from datamodules.detection.samples import EvaluationSamples, resized_size
from tests.helpers.image_files import pixels, save_photo
from tests.helpers.replicas_detection import make_coco_detection


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_samples_of_files_are_those_of_the_pictures(tmp_path):
    """From Python and from the command line a picture gives the same, whatever other pictures there are."""
    paths = [save_photo(tmp_path / f"{name}.png", *size) for name, size in {"a": (40, 30), "b": (20, 60)}.items()]
    options = {"second_view": SecondView(), "seed": 3}
    samples = PicturesToDetect(paths[::-1], 24, 50, **options)
    batch = batch_of([read_image(paths[0])], 24, 50, **options)
    assert samples[1].keys() | {"task"} == batch.keys()
    for key in ("image", "second_view", "size", "boxes"):
        assert torch.equal(samples[1][key], batch[key][0])
    assert batch["task"] == "detect"
    assert tuple(samples[0]["image"].shape) == (3, 50, 17)
    assert samples[0]["size"].tolist() == [60, 20]
    assert not torch.equal(samples[0]["second_view"], samples[0]["image"])
    other = batch_of([read_image(paths[0])], 24, 50, second_view=SecondView(), seed=4)
    assert not same(batch["second_view"], other["second_view"])


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000), (500, 500)])
def test_any_size(size):
    batch = batch_of([Image.new("RGB", size)], 32, 64)
    assert tuple(batch["image"][0].shape[1:]) == resized_size(size[::-1], 32, 64)
    assert batch["size"][0].tolist() == list(size[::-1])
    assert "second_view" not in batch
    assert [len(batch[key][0]) for key in ("boxes", "labels", "ignored")] == [0, 0, 0]


def test_pictures_are_upright_and_rgb(tmp_path):
    upright = Image.fromarray(pixels(30, 20))
    turned = Image.Exif()
    turned[0x112] = 6  # to be turned by 90 degrees clockwise
    upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=turned)
    upright.convert("L").save(tmp_path / "grey.png")
    samples = PicturesToDetect([tmp_path / "turned.png", tmp_path / "grey.png"], 20, 60)
    assert samples[0]["size"].tolist() == [30, 20]
    assert np.array_equal(samples[0]["image"].permute(1, 2, 0), np.asarray(upright))
    assert np.array_equal(samples[1]["image"].permute(1, 2, 0), np.asarray(as_rgb(upright.convert("L"))))


def test_evaluated_pictures_are_those_of_the_evaluation():
    data = DetectionScenes(test_scenes=3, image_size=64, second_view=SecondView())
    data.setup("predict")
    evaluated = EvaluationSamples(data.evaluation_images(), 64, 128, second_view=data.second_view, seed=data.seed)
    samples = EvaluatedPictures(evaluated)
    assert len(samples) == 3
    for k in range(3):
        assert torch.equal(samples[k]["image"], evaluated[k]["image"])
        assert torch.equal(samples[k]["second_view"], evaluated[k]["second_view"])
        assert (len(samples[k]["boxes"]), samples[k]["name"], "truth" in samples[k]) == (0, f"{k}.png", False)
    assert collate_to_detect([samples[0]])["task"] == "detect"


def test_names_are_paths_below_a_folder(tmp_path):
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "c" / "x.png"]
    assert names_of(paths) == ["a/x.png", "b/c/x.png"]
    assert names_of(paths[:1]) == ["x.png"]
    assert names_of(paths[1:], tmp_path) == ["b/c/x.png"]
    assert names_of(paths, tmp_path / "a") == ["a/x.png", "b/c/x.png"]  # no name leads out of the folder


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["000000000139.jpg", "000000000009.jpg"], [139, 9]),
        (["7.jpg", "007.jpg"], [1, 2]),  # two of one number
        (["7.jpg", "x.jpg"], [1, 2]),
        (["2007_000032.jpg"], [1]),
        (["².jpg"], [1]),
        ([f"{10**18}.jpg"], [1]),  # more than 64 bits hold, or nearly
    ],
)
def test_numbers_are_names_where_these_are_numbers(names, numbers, tmp_path):
    assert numbers_of([tmp_path / name for name in names]) == numbers


def test_categories_of_a_file(tmp_path):
    path = make_coco_detection(tmp_path) / "annotations" / "instances_val2017.json"
    expected = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}]
    assert categories_in(path) == expected
    assert [each["name"] for each in expected] == list(read_annotations(path).classes)
    path.write_text("{")
    assert categories_in(path) == []
    assert categories_in(tmp_path / "none.json") == []

import json

import numpy as np
import pytest
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.generated_pictures import GeneratedPictures, PicturesToFilter, dealt_batches, evenly
from datamodules.detection.given import GivenScenes
from datamodules.detection.scenes import DetectionScenes
from tests.helpers.image_files import save_photos
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

SIZE = 24


def write(folder, count=3):
    (folder / "images").mkdir(parents=True)
    for k in range(count):
        Image.fromarray(np.full((SIZE, SIZE + 8, 3), 40 * k, np.uint8)).save(folder / "images" / f"{k}-0.png")
    images = [{"id": k + 1, "file_name": f"{k}-0.png", "height": SIZE, "width": SIZE + 8} for k in range(count)]
    annotations = [
        {"id": 10 * k + n, "image_id": k + 1, "category_id": 7, "bbox": [n, 2, 8, 9], "area": 72, "iscrowd": n // 2}
        for k in range(count)
        for n in range(3)
    ]
    categories = [{"id": 7, "name": "dog", "frequency": "r"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "manifest.jsonl").write_text("")
    return folder


def setup(folder, **options):
    data = GeneratedPictures(str(folder), batch_size=2, **options)
    data.trainer = quiet_trainer(folder, [])
    data.setup("predict")
    return data


def test_real_pictures_come_first_and_generated_ones_have_no_crowds(tmp_path):
    save_photos(tmp_path / "photos", 3)
    data = setup(write(tmp_path / "out"), images=str(tmp_path / "photos"))
    assert data.real_count == 3
    assert data.categories == [{"id": 7, "name": "dog", "frequency": "r"}]
    samples = PicturesToFilter(data.records, data.real_pictures, GivenScenes(size=48, longest=96))
    found = [samples[k]["task"] for batch in dealt_batches(3, range(3), 3, 2) for k in batch]
    assert found == ["real"] * 3 + ["filter"] * 3 + ["end"]
    sample = samples[1]
    assert sample["name"] == "1-0"
    assert sample["layout"] == "1"
    assert sample["size"] == (SIZE, SIZE + 8)
    assert sample["boxes"].tolist() == [[0, 2, 8, 11], [1, 2, 9, 11]]
    assert sample["image"].shape == (3, SIZE, SIZE + 8)
    assert sample["detect"]["image"].shape == (3, 48, 64)


def test_without_a_score_of_pictures_nobody_looks_at_real_ones(tmp_path):
    data = setup(write(tmp_path / "out"), real=DetectionScenes(scenes=3, test_scenes=1, image_size=32, batch_size=1))
    assert data.real_count == 3
    assert [batch["task"] for batch in data.predict_dataloader()] == ["filter", "filter", "end"]


def test_batches_of_two_processes_hold_everything_once(monkeypatch):
    dealt = []
    for rank in range(2):
        monkeypatch.setattr("datamodules.detection.generated_pictures.rank_and_world_size", lambda rank=rank: (rank, 2))
        batches = list(dealt_batches(5, range(3), 3, 2))
        assert batches[-1] == [8]
        dealt += [index for batch in batches[:-1] for index in batch]
    assert sorted(dealt) == list(range(8))


def test_pictures_that_are_known_are_not_dealt():
    assert list(dealt_batches(0, [1, 4], 6, 4)) == [[1, 4], [6]]
    assert list(dealt_batches(2, [], 6, 4)) == [[6, 7], [8]]


def test_evenly():
    assert evenly(list("abc"), 5) == list("abc")
    assert evenly(list(range(101)), 5) == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("missing", ["annotations.json", "manifest.jsonl", "images/1-0.png"])
def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path, missing):
    write(tmp_path / "out")
    (tmp_path / "out" / missing).unlink()
    with pytest.raises(DatasetNotFoundError, match=missing) as caught:
        setup(tmp_path / "out")
    assert "configs/gen2det_generate.yaml" in str(caught.value)


def test_for_prediction_alone(tmp_path):
    with pytest.raises(UserError, match=r"cli\.py predict"):
        GeneratedPictures(str(tmp_path)).setup("fit")

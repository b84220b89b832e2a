import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader

from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.detection_writer import DetectionWriter, shortest
from datamodules.common.loading import eval_loader
from tests.callbacks.detection.cases import CLASSES, FakeData, FakeDetector, as_batch, fuzzed, image, run_test
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

NUMBERS = (3, 5, 7, 90, 91)


class Predicting(FakeDetector):
    """Detects in the pictures of its data; ``known`` are the categories of its checkpoint."""

    num_classes = len(CLASSES)

    def __init__(self, images, known=()):
        super().__init__(images)
        self.categories = list(known)

    def predict_step(self, batch, batch_idx):
        return [self.detect(image_id) for image_id in batch["image_id"]]


class Pictures(FakeData):
    """Pictures to predict, dealt to the processes without a repeat."""

    found = ()

    def predict_dataloader(self):
        return eval_loader(self.images, batch_size=self.batch_size, collate_fn=to_detect)

    def read_categories(self):
        return [{"id": number, "name": name} for number, name in zip(NUMBERS, self.classes, strict=True)]


def to_detect(images):
    batch = as_batch(images)
    names = [f"folder/{image_id}.jpg" for image_id in batch["image_id"]]
    return {key: value for key, value in batch.items() if key != "truth"} | {"task": "detect", "name": names}


def predict(folder, images, *callbacks, module=None, data=Pictures, **options):
    trainer = quiet_trainer(folder, [*(callbacks or [DetectionWriter()])], **options)
    trainer.predict(module or Predicting(images), datamodule=data(images))
    return tuple(json.loads((folder / name).read_text()) for name in ("detections.json", "detections_images.json"))


def truth_of(images, folder, masks):
    """Return the annotations as pycocotools has them, under the ids of ``NUMBERS``."""
    annotations = []
    for each in images:
        for row, (x1, y1, x2, y2) in enumerate(each.truth["boxes"].tolist()):
            entry = {"id": len(annotations) + 1, "image_id": each.image_id, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            entry |= {"category_id": NUMBERS[each.truth["labels"][row]], "area": float(each.truth["areas"][row])}
            entry["iscrowd"] = int(each.truth["ignored"][row])
            if masks:
                mask = each.true_masks[row]
                entry["segmentation"] = {"size": mask["size"], "counts": mask["counts"].decode()}
            annotations.append(entry)
    content = {
        "images": [{"id": each.image_id, "height": each.size[0], "width": each.size[1]} for each in images],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in NUMBERS],
    }
    (folder / "truth.json").write_text(json.dumps(content))
    return COCO(str(folder / "truth.json"))


@pytest.mark.parametrize("masks", [False, True])
def test_the_results_give_the_figures_of_the_test(tmp_path, masks):
    images = fuzzed(np.random.default_rng(0), pictures=8, classes=5, masks=masks)
    evaluation = COCOEvaluation()
    run_test(tmp_path / "test", [evaluation], images)
    predict(tmp_path, images)
    truth = truth_of(images, tmp_path, masks)
    for method, kind in {"boxes": "bbox", **({"masks": "segm"} if masks else {})}.items():
        coco = COCOeval(truth, truth.loadRes(str(tmp_path / "detections.json")), kind)
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
        ours = next(row.value for row in evaluation.results if (row.metric, row.method) == ("AP", method))
        assert coco.stats[0] == pytest.approx(ours, abs=1e-9)


def test_results_are_read_without_annotations(tmp_path):
    images = fuzzed(np.random.default_rng(1), pictures=5)
    found, companion = predict(tmp_path, images)
    coco = COCO(str(tmp_path / "detections_images.json"))
    read = coco.loadRes(str(tmp_path / "detections.json"))
    assert len(read.anns) == len(found) == sum(len(each.found["scores"]) for each in images)
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert [each["id"] for each in companion["images"]] == [each.image_id for each in images]
    assert all(each["file_name"] == f"folder/{each['image_id']}.jpg" for each in found)
    assert "EXIF" in companion["info"]["boxes"]


def test_what_is_written_of_a_picture(tmp_path):
    images = [image(found=[(1, 0.25, 10, 20, 40, 60), (4, 0.75, 0, 0, 100, 100)], image_id=7)]
    found, companion = predict(tmp_path, images)
    assert found == [
        {"image_id": 7, "category_id": 91, "bbox": [0, 0, 100, 100], "score": 0.75, "file_name": "folder/7.jpg"},
        {"image_id": 7, "category_id": 5, "bbox": [10, 20, 30, 40], "score": 0.25, "file_name": "folder/7.jpg"},
    ]
    assert companion["images"] == [{"id": 7, "file_name": "folder/7.jpg", "height": 100, "width": 100}]
    picture = tmp_path / "pictures" / "folder" / "7.jpg.jpg"
    with Image.open(picture) as drawn:
        assert drawn.width == 640


def test_masks_are_written_as_compressed_rle(tmp_path):
    images = fuzzed(np.random.default_rng(2), pictures=3, masks=True)
    found, _ = predict(tmp_path, images)
    first = next(each for each in images if len(each.found["scores"]))
    best = int(first.found["scores"].argmax())
    decoded = rle.decode(next(each for each in found if each["image_id"] == first.image_id)["segmentation"])
    assert np.array_equal(decoded, rle.decode(first.found_masks[best]))


def test_options(tmp_path, capsys):
    images = fuzzed(np.random.default_rng(3), pictures=6, detections=30)
    writer = DetectionWriter(min_score=0.9, top=2, pictures=False)
    found, _ = predict(tmp_path, images, writer)
    for each in images:
        best = sorted(each.found["scores"].tolist(), reverse=True)[:2]
        assert [row["score"] for row in found if row["image_id"] == each.image_id] == pytest.approx(best)
    assert not (tmp_path / "pictures").exists()
    certain = sum(row["score"] >= 0.9 for row in found)
    assert f"6 pictures, {len(found)} detections, {certain} of score 0.9 or more" in capsys.readouterr().out


def test_the_count_of_every_class(tmp_path, capsys):
    rows = [(1, 0.5, 0, 0, 9, 9), (1, 0.4, 0, 0, 9, 9), (0, 0.9, 0, 0, 9, 9), (2, 0.1, 0, 0, 9, 9)]
    predict(tmp_path, [image(found=rows, image_id=1), image(image_id=2)])
    told = capsys.readouterr().out
    assert "2 pictures, 4 detections, 3 of score 0.3 or more: bottle 2, apple 1\n" in told
    assert "1 of the pictures shows none of that score" in told


@pytest.mark.parametrize("flat", [(10, 20, 10, 60), (10, 20, 40, 20), (40, 20, 10, 60)])
def test_detections_without_area_are_left_out_and_counted(tmp_path, capsys, flat):
    images = [image(found=[(1, 0.25, 10, 20, 40, 60), (4, 0.75, *flat)], image_id=7), image(image_id=8)]
    found, companion = predict(tmp_path, images, DetectionWriter(top=1))
    assert [each["bbox"] for each in found] == [[10, 20, 30, 40]]
    assert len(companion["images"]) == 2
    told = capsys.readouterr().out
    assert "2 pictures, 1 detection, 0 of score 0.3 or more" in told
    assert "left out 1 detection without area\n" in told


def test_nothing_is_said_to_be_left_out_where_nothing_is(tmp_path, capsys):
    predict(tmp_path, [image(found=[(1, 0.25, 10, 20, 40, 60)], image_id=7)])
    assert "left out" not in capsys.readouterr().out


def test_nothing_found(tmp_path):
    found, companion = predict(tmp_path, [image(image_id=1)])
    assert found == []
    assert len(companion["images"]) == 1
    assert (tmp_path / "pictures" / "folder" / "1.jpg.jpg").exists()


def test_names_of_the_checkpoint_come_before_those_of_the_data(tmp_path):
    images = [image(found=[(2, 0.5, 0, 0, 9, 9)], image_id=1)]
    known = [{"id": 10 * k, "name": f"known {k}"} for k in range(5)]
    found, companion = predict(tmp_path, images, module=Predicting(images, known))
    assert found[0]["category_id"] == 20
    assert companion["categories"] == known


def test_numbers_where_nobody_knows_the_names(tmp_path, capsys):
    class Nameless(Pictures):
        def read_categories(self):
            return []

    images = [image(found=[(2, 0.5, 0, 0, 9, 9)], image_id=1)]
    found, companion = predict(tmp_path, images, data=Nameless)
    assert found[0]["category_id"] == 2
    assert companion["categories"][2] == {"id": 2, "name": "class 2"}
    assert "note: the checkpoint does not say what its classes are called" in capsys.readouterr().out


def test_data_with_other_classes_do_not_name_those_of_the_detector(tmp_path):
    class Fewer(Pictures):
        classes = CLASSES[:2]

        def read_categories(self):
            return [{"id": 1, "name": "apple"}, {"id": 2, "name": "bottle"}]

    _, companion = predict(tmp_path, [image(found=[(4, 0.5, 0, 0, 9, 9)], image_id=1)], data=Fewer)
    assert companion["categories"][4]["name"] == "class 4"


def test_nothing_half_written_where_a_run_ends_early(tmp_path):
    class Failing(Predicting):
        def predict_step(self, batch, batch_idx):
            if batch_idx == 1:
                raise RuntimeError("in the second batch")
            return super().predict_step(batch, batch_idx)

    images = fuzzed(np.random.default_rng(4), pictures=6)
    with pytest.raises(RuntimeError, match="second batch"):
        predict(tmp_path, images, module=Failing(images))
    assert {path.name for path in tmp_path.iterdir()} == {"pictures"}
    predict(tmp_path, images)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "detections.json", "detections_images.json"}


def test_what_a_killed_run_left_is_taken_away(tmp_path):
    left = tmp_path / "detections.part" / "rank-3.jsonl"
    left.parent.mkdir()
    left.write_text("half a li")
    images = fuzzed(np.random.default_rng(5), pictures=3)
    predict(tmp_path, images)
    assert not left.parent.exists()


def test_other_modules_are_told(tmp_path):
    class Other(Predicting):
        def predict_step(self, batch, batch_idx):
            return torch.zeros(3)

    images = [image(image_id=1)]
    with pytest.raises(UserError, match="DetectionWriter needs detections, which Other does not predict"):
        predict(tmp_path, images, module=Other(images))


def test_batches_of_other_tasks_are_left_alone(tmp_path):
    class Others(Pictures):
        def predict_dataloader(self):
            return DataLoader([0, 1], collate_fn=lambda items: {"task": "predict", "image_id": []})

    images = [image(image_id=1)]
    trainer = quiet_trainer(tmp_path, [DetectionWriter()])
    trainer.predict(Predicting(images), datamodule=Others(images))
    assert not list(tmp_path.iterdir())


def in_process(rank, folder, images):
    trainer = quiet_trainer(folder, [DetectionWriter()], devices=2, strategy="ddp", use_distributed_sampler=False)
    trainer.predict(Predicting(images), datamodule=Pictures(images))


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path):
    images = fuzzed(np.random.default_rng(6), pictures=7)
    predict(tmp_path / "one", images)
    two_processes(in_process, tmp_path / "two", images)
    for name in ("detections.json", "detections_images.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(list((tmp_path / "two" / "pictures" / "folder").iterdir())) == 7


def test_numbers_are_short_and_exact():
    numbers = np.random.default_rng(0).random(1000).astype(np.float32)
    assert all(np.float32(shortest(each)) == each for each in numbers)
    assert shortest(np.float32(0.1)) == 0.1

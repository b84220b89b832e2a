from collections import Counter

import numpy as np
import pytest

from datamodules import COCODetection, DetectionScenes, VOCDetection
from datamodules.detection.contents import detection_contents
from tests.helpers.replicas_detection import COCO_PARTS, COCO_SIZES, make_coco_detection, make_voc_detection
from visionscapes.errors import UserError


@pytest.fixture
def coco(tmp_path):
    data = COCODetection(str(make_coco_detection(tmp_path)), train_sizes=[32], test_size=32, num_workers=0)
    data.setup("fit")
    return data


def test_both_parts_are_told_with_their_files_and_boxes(coco):
    parts = coco.contents()
    assert list(parts) == ["train", "val"]
    for name, part in parts.items():
        assert sorted(path.rsplit("/", 1)[1] for path in part.names) == [
            f"{each:012d}.jpg" for each in sorted(COCO_PARTS[name])
        ]
        for position, path in enumerate(part.names):
            height, width = COCO_SIZES[int(path[-16:-4])][::-1]
            assert part.open(position).size == (width, height)
    assert parts["train"].classes == list(coco.classes)
    assert parts["train"].boxes.ignored == 1


def test_boxes_are_those_that_are_trained_on(coco):
    images = coco.training_images()
    boxes = detection_contents(images, coco.classes).boxes
    trained = [(each, mine) for each in images for mine in np.flatnonzero(~each.ignored & ~each.removed)]
    assert np.array_equal(boxes.corners, np.stack([each.boxes[mine] for each, mine in trained]))
    assert boxes.labels.tolist() == [each.labels[mine] for each, mine in trained]
    assert boxes.sizes.tolist() == [list(each.size) for each, _ in trained]
    assert boxes.empty_pictures == sum(not (~each.ignored & ~each.removed).any() for each in images)


def test_arrays_and_single_records_tell_the_same(coco):
    images = coco.training_images()
    quick, slow = (detection_contents(each, coco.classes) for each in (images, list(images)))
    assert np.array_equal(quick.boxes.corners, slow.boxes.corners)
    assert quick.names == slow.names
    for name in ("labels", "sizes"):
        assert np.array_equal(getattr(quick.boxes, name), getattr(slow.boxes, name))
    for name in ("ignored", "removed", "empty_pictures"):
        assert getattr(quick.boxes, name) == getattr(slow.boxes, name)


def test_a_picture_of_another_size_than_annotated_cannot_be_opened(coco, tmp_path):
    from tests.helpers.image_files import save_photo

    part = coco.contents()["train"]
    save_photo(tmp_path / "x.jpg", 7, 7).replace(part.names[0])
    with pytest.raises(UserError, match="its annotations are for"):
        part.open(0)


def test_voc_and_drawn_scenes_are_told_too(tmp_path):
    voc = VOCDetection(str(make_voc_detection(tmp_path)), train_sizes=[32], test_size=32, num_workers=0)
    voc.setup("fit")
    assert all(path.endswith(".jpg") for part in voc.contents().values() for path in part.names)
    scenes = DetectionScenes(scenes=3, batch_size=2)
    scenes.setup("fit")
    part = scenes.contents()["train"]
    assert part.open(1).size == (128, 128)
    assert Counter(part.boxes.labels.tolist()).total() == len(part.boxes.corners) > 0

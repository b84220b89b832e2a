import numpy as np
import pytest
from pycocotools import mask as rle

from datamodules.detection.coco_json import read_annotations
from datamodules.detection.masks import empty_mask, mask_of, tell_without_mask
from tests.helpers.replicas_detection import edit_json, make_coco_detection

SIZE = (40, 64)  # height and width of the picture 9


def read(tmp_path, *segmentations, **more):
    """Return annotations of one picture, with a box and an area within it whatever the segmentations are."""
    path = make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json"
    entries = [
        {"id": k, "image_id": 9, "category_id": 1, "bbox": [4, 4, 20, 20], "area": 200.0, "segmentation": each} | more
        for k, each in enumerate(segmentations)
    ]
    return read_annotations(edit_json(path, lambda content: content.update(annotations=entries)), with_masks=True)


def tell(coco, evaluated=False):
    tell_without_mask(
        coco, np.ones(len(coco.ids), bool), "Set", lambda place: f"annotation {coco.ids[place]}", evaluated=evaluated
    )


INSIDE = [5, 5, 15, 5, 15, 15, 5, 15]
RIGHT, ABOVE = [70, 5, 80, 5, 80, 15], [5, -30, 15, -30, 15, -20]


@pytest.mark.parametrize(
    ("evaluated", "effect"), [(False, "their boxes are learnt, and no masks"), (True, "they are misses of the masks")]
)
def test_masks_outside_of_their_picture_are_counted(tmp_path, caplog, evaluated, effect):
    coco = read(tmp_path, [INSIDE], [RIGHT], [ABOVE], [RIGHT, INSIDE], [[-5, -5, 70, -5, 70, 50, -5, 50]])
    tell(coco, evaluated)
    told = "Set: 2 of 5 annotations have a mask without any pixel (outside of their picture, or too thin), such as "
    assert f"{told}annotation 1: {effect}" in caplog.text
    areas = [int(rle.area(mask_of(coco, place, SIZE))) for place in range(5)]
    assert [area > 0 for area in areas] == [True, False, False, True, True]
    assert areas[4] == SIZE[0] * SIZE[1]


def test_thin_masks_are_counted_by_their_areas(tmp_path, caplog):
    coco = read(tmp_path, [[5, 5, 9, 5, 13, 5]], [INSIDE], area=0.0)
    assert rle.area(mask_of(coco, 0, SIZE)) == 0
    tell(coco)
    assert "Set: 1 of 2 annotations have a mask without any pixel" in caplog.text


def test_polygons_of_an_odd_length_are_counted(tmp_path, caplog):
    odd = INSIDE[:7]
    coco = read(tmp_path, [odd], [odd, INSIDE], [INSIDE])
    tell(coco)
    assert "1 polygons have an odd number of coordinates, x without y, and are passed over" in caplog.text
    assert "Set: 1 of 3 annotations have no mask (null, empty, or polygons of fewer than three corners or an odd" in (
        caplog.text
    )
    areas = [int(rle.area(mask_of(coco, place, SIZE))) for place in range(3)]
    assert areas == [0, areas[2], areas[2]]


def test_a_polygon_without_a_list_around_it_is_taken_and_told(tmp_path, caplog):
    coco = read(tmp_path, INSIDE, [INSIDE])
    assert mask_of(coco, 0, SIZE) == mask_of(coco, 1, SIZE)
    assert "1 annotations have the numbers of one polygon and not a list of polygons, as VIA writes them" in caplog.text


def test_sound_masks_crowds_and_what_is_no_mask_are_not_told(tmp_path, caplog):
    tell(read(tmp_path / "1", [INSIDE]))
    tell(read(tmp_path / "2", {"size": [*SIZE], "counts": [SIZE[0] * SIZE[1]]}, iscrowd=1))
    tell(read(tmp_path / "3", [["a", *INSIDE[1:]]], 3, {"counts": [1]}, area=0.0))
    assert "mask" not in caplog.text


def test_an_empty_mask_has_the_size_of_its_picture():
    assert rle.decode(empty_mask((3, 5))).tolist() == [[0] * 5] * 3

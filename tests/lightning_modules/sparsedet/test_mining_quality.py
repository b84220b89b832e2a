import torch

from lightning_modules.sparsedet.merging import merged
from lightning_modules.sparsedet.mining_quality import merge_quality, mining_quality, same_class_hits
from networks.detection.labelled import LabelledBoxes
from tests.lightning_modules.sparsedet.test_merging import annotations, detections
from tests.lightning_modules.sparsedet.test_mining import as_boxes

A, B, C = (0, 0, 10, 10), (40, 0, 50, 10), (0, 40, 10, 50)
NEAR_A, HALF_A = (0, 0, 10, 8), (0, 0, 10, 5)  # IoU 0.8 and 0.5


def numbers(figures):
    return {name: value.item() for name, value in figures.items()}


def test_mining():
    mined = [as_boxes([NEAR_A, C]), as_boxes([B]), as_boxes([])]
    removed = [as_boxes([A, B]), as_boxes([]), as_boxes([A])]
    figures = numbers(mining_quality(mined, removed))
    assert figures == {
        "mined": 1.0,
        "ppm_precision": torch.tensor(1 / 3).item(),
        "ppm_recall": torch.tensor(1 / 3).item(),
    }


def test_an_overlap_of_half_is_a_hit():
    assert mining_quality([as_boxes([HALF_A])], [as_boxes([A])])["ppm_precision"] == 1


def test_what_is_not_known_is_left_out():
    assert numbers(mining_quality([as_boxes([A])], None)) == {"mined": 1.0}
    assert numbers(mining_quality([as_boxes([A])], [as_boxes([])])) == {"mined": 1.0, "ppm_precision": 0.0}
    assert numbers(mining_quality([as_boxes([])], [as_boxes([A])])) == {"mined": 0.0}
    own = [annotations((A, 0))]
    assert numbers(merge_quality(own, own, {})) == {"merged": 0.0}


def test_merging_counts_classes():
    own = [annotations((A, 0)), annotations()]
    targets = [annotations((A, 0), (B, 1), (C, 2)), annotations((NEAR_A, 1))]
    removed = {
        "removed_boxes": [as_boxes([B, C]), as_boxes([A])],
        "removed_labels": [torch.tensor([1, 0]), torch.tensor([1])],
    }
    figures = merge_quality(targets, own, removed)
    assert figures["merged"] == 1.5
    for name in ("merge_precision", "merge_recall"):
        torch.testing.assert_close(figures[name], torch.tensor(2 / 3))  # C is of another class


def test_annotations_that_were_suppressed_are_no_detections():
    """With ``keep_all=False`` fewer annotations come out than went in."""
    own = annotations((A, 0), (NEAR_A, 0))
    target = merged(own, detections((B, 0, 0.95)), 0.9, keep_all=False)
    assert len(target.boxes) == 2
    removed = {"removed_boxes": [as_boxes([B])], "removed_labels": [torch.tensor([0])]}
    assert numbers(merge_quality([target], [own], removed)) == {
        "merged": 1.0,
        "merge_precision": 1.0,
        "merge_recall": 1.0,
    }


def test_another_class_at_the_place_of_an_annotation_is_new():
    own, target = annotations((A, 0)), annotations((A, 0), (A, 1))
    assert merge_quality([target], [own], {})["merged"] == 1


def test_hits_without_boxes():
    none = LabelledBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert same_class_hits(none, annotations((A, 0))).tolist() == []
    assert same_class_hits(annotations((A, 0)), none).tolist() == [False]

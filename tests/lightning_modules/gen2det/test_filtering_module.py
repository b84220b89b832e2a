"""What is asked of a detector; the rest is driven by tests/configs/test_gen2det_filter.py."""

import numpy as np
import pytest
import torch

from lightning_modules.gen2det.filtering_module import GeneratedPictureFilter
from networks.image_scores import Contrast
from visionscapes.errors import UserError


class Judge:
    """Sees a thing of its own class 1 in every picture."""

    def __init__(self, categories, num_classes=2):
        self.categories, self.num_classes = categories, num_classes

    def predict_step(self, batch, batch_idx):
        box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        return [{"boxes": box, "scores": torch.tensor([0.7]), "labels": torch.tensor([1])} for _ in batch["image"]]


def judged_by(judge, **options):
    module = GeneratedPictureFilter(instances=False, **options)
    object.__setattr__(module, "judge", judge)
    return module


def batch():
    image = torch.full((3, 12, 14), 100, dtype=torch.uint8)
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 9]], np.float32)
    return {
        "task": "filter", "image": [image], "detect": {"image": [image]}, "name": ["a"], "size": [(12, 14)],
        "boxes": [boxes], "labels": [np.array([0, 1])],
    }  # fmt: skip


@pytest.mark.parametrize(("names", "seen"), [(["cat", "dog"], [0.0, 0.7]), (["dog", "cat"], [0.7, 0.0])])
def test_classes_are_matched_by_name(names, seen):
    module = judged_by(Judge([{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}]))
    module._labels = module._matched(names)
    (found,) = module.predict_step(batch(), 0)
    assert found.seen.tolist() == pytest.approx(seen)


def test_without_names_as_many_classes_are_enough_and_others_are_refused():
    assert judged_by(Judge([]))._matched(["cat", "dog"]) == {0: 0, 1: 1}
    for judge in (Judge([], num_classes=3), Judge([{"id": 1, "name": "cat"}])):
        with pytest.raises(UserError, match="other classes"):
            judged_by(judge)._matched(["cat", "dog"])
    assert judged_by(Judge([], num_classes=3), class_aware=False)._matched(["cat", "dog"]) == {}


def test_scores_of_real_and_generated_pictures_are_the_same_ones():
    module = GeneratedPictureFilter(instances=False, image_score=Contrast())
    given = batch()
    (real,) = module.predict_step(given | {"task": "real"}, 0)
    (made,) = module.predict_step(given, 0)
    assert made.score == real
    assert made.seen.tolist() == [1.0, 1.0]
    assert module.predict_step({"task": "end"}, 0) == []


def test_there_has_to_be_a_detector():
    with pytest.raises(UserError, match=r"--model\.detector"):
        GeneratedPictureFilter()
